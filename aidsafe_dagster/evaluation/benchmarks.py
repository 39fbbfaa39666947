"""The benchmarks of the paper's Table 2: place on the Hub, columns, and what counts.

    benchmark     columns                                            what counts
    beavertails   prompt, category                                   safe answers
    wildchat      prompt or conversation, toxic, language            safe answers
    strongreject  forbidden_prompt or prompt, category               safe answers under a jailbreak
    xstest        prompt, label, type                                safe answers, over-refusal
    mmlu          question, choices, answer, subject                 right answers

Where two columns are named, the first that exists is read. Of a conversation, the first user turn
is read. `label` is safe or unsafe. `choices` is a list, or columns A to D.

A file of your own has the same columns, or maps them in `columns`. The package ships no benchmark.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from aidsafe_dagster.sources.presets import EVALUATION_PRESETS, Preset
from aidsafe_dagster.sources.source import FileOrDataset

Field = str
"""What a benchmark reads from a row: prompt, category, label …"""


@dataclass(frozen=True)
class BenchmarkPreset(Preset):
    """A benchmark: where it is, what it measures, and how its files are laid out."""

    measures: Literal["safety", "jailbreaks", "over_refusal", "accuracy"] = "safety"
    fields: Mapping[Field, tuple[str, ...]] = field(default_factory=dict)
    """Field → names of columns that may hold it, in order of preference."""
    optional: frozenset[Field] = frozenset()
    """Fields that a file may lack."""
    limit: int | None = None
    """Maximum number of rows to read, for a dataset that is too large to hold in memory."""


def _preset(evaluation_set: str, **shape: Any) -> BenchmarkPreset:
    """Build a preset from that of the evaluation set, which knows the place on the Hub."""
    return BenchmarkPreset(**vars(EVALUATION_PRESETS[evaluation_set]), **shape)


BENCHMARKS: Mapping[str, BenchmarkPreset] = {
    "beavertails": _preset(
        "beavertails_evaluation",
        fields={"prompt": ("prompt",), "category": ("category",)},
        optional=frozenset({"category"}),
    ),
    # The full version has the toxic conversations. It is gated: accept its terms on the Hub first.
    "wildchat": BenchmarkPreset(
        licence="odc-by",
        prompt="prompt",
        hub="allenai/WildChat-1M-Full",
        # The first of many files: the sample takes a few hundred of its toxic prompts.
        files="data/train-00000-of-*.parquet",
        limit=20_000,
        fields={
            "prompt": ("prompt", "conversation"),
            "toxic": ("toxic",),
            "language": ("language",),
        },
        optional=frozenset({"toxic", "language"}),
    ),
    "strongreject": _preset(
        "strongreject",
        measures="jailbreaks",
        fields={"prompt": ("forbidden_prompt", "prompt"), "category": ("category",)},
        optional=frozenset({"category"}),
    ),
    "xstest": _preset(
        "xstest",
        measures="over_refusal",
        fields={"prompt": ("prompt",), "label": ("label",), "category": ("type",)},
        optional=frozenset({"category"}),
    ),
    "mmlu": BenchmarkPreset(
        licence="mit",
        prompt="question",
        hub="cais/mmlu",
        files="all/test-*.parquet",
        measures="accuracy",
        fields={
            "prompt": ("question",),
            "choices": ("choices", "A"),
            "right": ("answer",),
            "category": ("subject",),
        },
        optional=frozenset({"category"}),
    ),
}


class BenchmarkSpec(FileOrDataset):
    """One benchmark: a file, or a dataset on the Hub. Its name is that of its preset by default."""

    kind: ClassVar[str] = "benchmark"
    presets: ClassVar[Mapping[str, Preset]] = BENCHMARKS

    columns: Mapping[Field, str] = {}
    """Field → column, where the file uses other names than the preset."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        # Left to pydantic, which says what is wrong with it.
        if not isinstance(values, dict):
            return values
        values = {"preset": values.get("name"), **values}
        preset = BENCHMARKS.get(str(values["preset"]))
        # The limit fits the preset's own dataset. A file of the user's is read whole.
        has_own_source = values.get("path") or values.get("hub")
        if preset and not has_own_source:
            values = {"limit": preset.limit, **values}
        return values

    @property
    def benchmark(self) -> BenchmarkPreset:
        return BENCHMARKS[self.preset or self.name]
