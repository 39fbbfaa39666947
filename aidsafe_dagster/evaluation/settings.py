"""What a user sets of the safety evaluation: the models under test, and the benchmarks.

[evaluation]
models = [
  { name = "base" },                                     # the engine's own model
  { name = "sft", model = "sft" },                       # a LoRA adapter of vllm.lora_adapters, by its name
  { name = "dpo", model = "dpo" },
  { name = "other", model = "…", base_url = "http://…/v1" },
]

[[evaluation.benchmarks]]
name = "xstest"
path = "xstest_prompts.csv"
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from aidsafe_dagster.evaluation.benchmarks import BENCHMARKS, BenchmarkSpec
from aidsafe_dagster.recipe.records import Record


class CandidateSettings(Record):
    """A model under test."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")]
    """What the report calls it."""
    model: str = ""
    """Empty: the engine's own."""
    base_url: str = ""
    """Empty: the server of the engine."""
    api_key_env: str = ""
    revision: str = ""
    """Change it when other weights are served under the same name; of a local LoRA adapter, a hash says it."""


class EvaluationSettings(Record):
    models: tuple[CandidateSettings, ...] = ()
    benchmarks: tuple[BenchmarkSpec, ...] = tuple(BenchmarkSpec(name=name) for name in BENCHMARKS)
    sample: int = Field(default=200, ge=0)
    """Prompts of each benchmark, the same ones for every model; 0: all. XSTest's safe and unsafe prompts are two."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the models under test."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for what, names in (
            ("model", [m.name for m in self.models]),
            ("benchmark", [b.name for b in self.benchmarks]),
        ):
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"two {what}s are named '{twice}'")
        return self

    def within(self, folder: Path) -> "EvaluationSettings":
        """The same with relative paths taken from a folder."""
        benchmarks = tuple(
            spec.model_copy(update={"path": folder / spec.path.expanduser()}) if spec.path else spec
            for spec in self.benchmarks
        )
        return self.model_copy(update={"benchmarks": benchmarks})
