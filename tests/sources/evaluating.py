"""Builders of evaluation sets."""

from pathlib import Path
from typing import Any

from aidsafe_dagster.sources.evaluation_sets import EvaluationPrompt, EvaluationSet
from aidsafe_dagster.sources.settings import EvaluationSetSpec


def an_evaluation_set(*texts: str, name: str = "mine") -> EvaluationSet:
    prompts = [
        EvaluationPrompt(name, f"{name}.csv row {number}", text)
        for number, text in enumerate(texts, start=1)
    ]
    return EvaluationSet(
        name=name,
        origin=f"{name}.csv",
        revision="",
        prompts=tuple(prompts),
        skipped=0,
    )


def a_spec(
    path: Path | None = None, name: str = "mine", **settings: Any
) -> EvaluationSetSpec:
    origin = {"path": path} if path else {}
    return EvaluationSetSpec.model_validate({"name": name} | origin | settings)
