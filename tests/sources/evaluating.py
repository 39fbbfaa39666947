"""Builders of evaluation sets."""

from pathlib import Path
from typing import Any

from aidsafe_dagster.sources.evaluation_sets import (
    EvaluationPrompt,
    EvaluationSet,
)
from aidsafe_dagster.sources.settings import EvaluationSetSpec


def an_evaluation_set(*texts: str, name: str = "mine") -> EvaluationSet:
    rows = (
        EvaluationPrompt(name, f"{name}.csv row {n}", text) for n, text in enumerate(texts, start=1)
    )
    return EvaluationSet(
        name=name, origin=f"{name}.csv", revision="", prompts=tuple(rows), skipped=0
    )


def a_spec(path: Path | None = None, name: str = "mine", **settings: Any) -> EvaluationSetSpec:
    return EvaluationSetSpec.model_validate(
        {"name": name} | ({"path": path} if path else {}) | settings
    )
