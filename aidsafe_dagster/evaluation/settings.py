"""Settings of the safety evaluation: the models under test and the benchmarks.

[evaluation]
models = [
  { name = "base" },                                     # the engine's own model
  { name = "sft", model = "sft" },                       # a LoRA adapter of vllm.lora_adapters
  { name = "dpo", model = "dpo" },
  { name = "other", model = "…", base_url = "http://…/v1" },
]

[[evaluation.benchmarks]]
name = "xstest"
path = "xstest_prompts.csv"
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from aidsafe_dagster.evaluation.benchmarks import BENCHMARKS, BenchmarkSpec
from aidsafe_dagster.recipe.records import Record


class CandidateSettings(Record):
    """A model under test."""

    name: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")
    ]
    """Its name in the report."""
    model: str = ""
    """Empty: the engine's own model."""
    base_url: str = ""
    """Empty: the server of the engine."""
    server: str = ""
    """A name under `[servers]`, in place of `base_url`."""
    api_key_env: str = ""
    revision: str = ""
    """Change it when other weights are served under the same name. A local LoRA adapter needs none:
    its weights are hashed."""
    adapter: str = ""
    """Folder of a LoRA adapter that is served under the model's name, where `vllm.lora_adapters`
    does not say it: its weights are hashed, and what it was trained on is told."""


class EvaluationSettings(Record):
    models: tuple[CandidateSettings, ...] = ()
    # All five, so that a report can be held against the paper's table.
    benchmarks: tuple[BenchmarkSpec, ...] = tuple(
        BenchmarkSpec(name=name) for name in BENCHMARKS
    )
    sample: int = Field(default=200, ge=0)
    """Number of prompts of each benchmark, the same ones for every model; 0: all. XSTest's safe and
    unsafe prompts are sampled separately."""
    held_out: int = Field(default=0, ge=0)
    """Rows of the test split, of each kind: their prompts are asked as the benchmark `held_out`,
    and their answers are scored. The scores need a server that tells the log-probabilities of a
    prompt (vLLM)."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature of the models under test."""

    @model_validator(mode="after")
    def _require_unique_names(self) -> Self:
        _require_unique("model", [model.name for model in self.models])
        _require_unique("benchmark", [benchmark.name for benchmark in self.benchmarks])
        return self

    def within(self, folder: Path) -> "EvaluationSettings":
        """Return the settings with relative paths resolved against a folder."""
        benchmarks = []
        for spec in self.benchmarks:
            if spec.path:
                path = folder / spec.path.expanduser()
                spec = spec.model_copy(update={"path": path})  # noqa: PLW2901
            benchmarks.append(spec)
        return self.model_copy(update={"benchmarks": tuple(benchmarks)})


def _require_unique(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what}s are named '{name}'")
