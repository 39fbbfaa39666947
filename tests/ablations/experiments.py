"""Builders of experiments with two variants."""

from typing import Any

from aidsafe_dagster.ablations.experiment import (
    Experiment,
    ExperimentResult,
    ExperimentVariant,
    TargetRow,
    VariantFailure,
)
from tests.builders import a_failure, an_ablation_row

PROMPTS = ("p1", "p2", "p3", "p4")


def an_experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "kind": "refiner",
        "variants": (
            a_variant("one", refined="false"),
            a_variant("two", refined="true"),
        ),
        "prompt_ids": PROMPTS,
        "batches": ("b-0001",),
        "floors": {"policy_to_response": 4.0},
        "currency": "",
        "simulated": False,
    }
    return Experiment(**(values | changes))


def a_variant(name: str, **parts: str) -> ExperimentVariant:
    common = {"deliberation.max_rounds": "3", "judge: model": "some-judge"}
    return ExperimentVariant(name=name, parts=common | parts)


def a_variant_failure(**changes: Any) -> VariantFailure:
    values = a_failure(stage="seed_cots").model_dump() | {"variant": "two"}
    return VariantFailure(**(values | changes))


def a_result(**changes: Any) -> ExperimentResult:
    """All prompts through the first variant; the last one fails in the second."""
    rows = [an_ablation_row(prompt_id=prompt_id) for prompt_id in PROMPTS]
    for prompt_id in PROMPTS[:-1]:
        rows.append(an_ablation_row(prompt_id=prompt_id, variant="two"))
    failures = [a_variant_failure(prompt_id=PROMPTS[-1])]
    return ExperimentResult(an_experiment(**changes), rows, failures)


def a_target_row(**changes: Any) -> TargetRow:
    values: dict[str, Any] = {
        "variant": "one",
        "prompt_id": "p1",
        "batch": "b-0001",
        "model": "some-target",
        "kind": "violation",
        "is_misled": True,
        "policy_score": 1.5,
        "margin": 3.0,
        "beliefs": 2,
        "iteration_scores": (3.0, 1.5),
        "calls": 6,
        "cost": 0.0,
    }
    return TargetRow(**(values | changes))
