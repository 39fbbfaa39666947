"""The benchmarks of the paper's Table 2: where each is on the Hub, which columns are read, and what it measures.

    benchmark     columns (of "or", the first that is there)                         what counts
    beavertails   prompt, category                                                   safe answers
    wildchat      prompt or conversation (its first user turn), toxic, language      safe answers
    strongreject  forbidden_prompt or prompt, category                               safe answers under a jailbreak
    xstest        prompt, label (safe, unsafe), type                                 refusals of safe prompts, safety
    mmlu          question, choices (a list, or columns A to D), answer, subject     right answers

A file of one's own has the same columns, or says in `columns` what they are called. None is shipped with this package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from aidsafe_dagster.sources.presets import EVALUATION_PRESETS, Preset
from aidsafe_dagster.sources.source import FileOrDataset

Field = str
"""What a benchmark needs to know of a row: prompt, category, label …"""


@dataclass(frozen=True)
class BenchmarkPreset(Preset):
    """A benchmark's shape. `fields` are the names under which each field is looked for; `optional` may be missing."""

    measures: Literal["safety", "jailbreaks", "over_refusal", "accuracy"] = "safety"
    fields: Mapping[Field, tuple[str, ...]] = field(default_factory=dict)
    optional: frozenset[Field] = frozenset()
    limit: int | None = None
    """Rows to read at most, where the whole is too much to hold."""


def _preset(evaluation_set: str, **shape: Any) -> BenchmarkPreset:
    """Where it is on the Hub is said once, in the presets of the sources."""
    return BenchmarkPreset(**vars(EVALUATION_PRESETS[evaluation_set]), **shape)


BENCHMARKS: Mapping[str, BenchmarkPreset] = {
    "beavertails": _preset(
        "beavertails_evaluation",
        fields={"prompt": ("prompt",), "category": ("category",)},
        optional=frozenset({"category"}),
    ),
    # The full version, which has the toxic conversations, is gated: its terms have to be accepted on the Hub.
    "wildchat": BenchmarkPreset(
        licence="odc-by",
        prompt="prompt",
        hub="allenai/WildChat-1M-Full",
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
    """One benchmark: a file, or a dataset on the Hub. Its name says which it is, unless `preset` does."""

    kind: ClassVar[str] = "benchmark"
    presets: ClassVar[Mapping[str, Preset]] = BENCHMARKS

    columns: Mapping[Field, str] = {}
    """What fields are called in this file, where they have other names."""

    @model_validator(mode="before")
    @classmethod
    def _as_its_preset_says(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = {"preset": values.get("name"), **values}
        known = BENCHMARKS.get(str(values["preset"]))
        if known and not values.get("path") and not values.get("hub"):
            values = {"limit": known.limit, **values}
        return values

    @property
    def benchmark(self) -> BenchmarkPreset:
        return BENCHMARKS[self.preset or self.name]
