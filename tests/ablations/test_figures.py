"""Figures of an experiment, by hand: every prompt of the sample is in each denominator."""

import pytest

from aidsafe_dagster.ablations.experiment import ExperimentResult
from aidsafe_dagster.ablations.figures import variant_figures
from aidsafe_dagster.recipe.ablations import AblationRow
from aidsafe_dagster.recipe.records import Usage
from tests.ablations.experiments import (
    PROMPTS,
    a_result,
    a_variant_failure,
    an_experiment,
)
from tests.builders import an_ablation_row


def test_a_prompt_that_failed_counts_with_the_lowest_score() -> None:
    one, two = variant_figures(a_result())
    assert one.scores["policy_score"].value == 4.0  # type: ignore[union-attr]
    score = two.scores["policy_score"]
    assert score is not None
    assert score.value == pytest.approx((4 + 4 + 4 + 1) / 4)
    assert score.n == 4
    assert score.low is not None
    assert score.low < score.value
    rows_alone = two.scores_of_rows["policy_score"]
    assert rows_alone is not None
    assert (rows_alone.value, rows_alone.n) == (4.0, 3)


def test_a_difference_is_of_the_same_prompts_failed_ones_included() -> None:
    one, two = variant_figures(a_result())
    assert one.differences == {}
    difference = two.differences["policy_to_cot"]
    assert difference is not None
    assert difference.value == pytest.approx(-3 / 4)
    assert difference.n == 4
    usable = two.differences["usable"]
    assert usable is not None
    assert usable.value == pytest.approx(-1 / 4)


def test_usable_rows_coverage_and_stalls_are_shares_of_all_prompts() -> None:
    result = a_result()
    rows = [row for row in result.rows if isinstance(row, AblationRow)]
    rows[-1] = an_ablation_row(
        variant="two",
        prompt_id="p3",
        policy_to_response=3.5,
        policy_coverage=0.5,
        stalled=True,
    )
    changed = ExperimentResult(result.experiment, rows, result.failures)
    two = variant_figures(changed)[1]
    assert two.usable is not None
    assert (two.usable.value, two.usable.n) == (2 / 4, 4)
    assert two.coverage is not None
    assert two.coverage.value == pytest.approx(2.5 / 4)
    assert two.stalled is not None
    assert (two.stalled.value, two.stalled.n) == (1 / 4, 4)


def test_what_a_failed_prompt_cost_is_counted() -> None:
    result = a_result()
    spent = a_variant_failure(prompt_id="p4", usage=Usage(calls=9, cost=1.0))
    one, two = variant_figures(
        ExperimentResult(result.experiment, result.rows, [spent])
    )
    assert one.usage.calls == 4 * 5
    assert two.usage.calls == 3 * 5 + 9
    assert two.usage.cost == pytest.approx(1.3)


def test_a_variant_of_which_every_prompt_failed_still_has_figures() -> None:
    experiment = an_experiment()
    rows = [an_ablation_row(prompt_id=prompt_id) for prompt_id in PROMPTS]
    failures = [a_variant_failure(prompt_id=prompt_id) for prompt_id in PROMPTS]
    two = variant_figures(ExperimentResult(experiment, rows, failures))[1]
    assert two.scores["policy_score"].value == 1.0  # type: ignore[union-attr]
    assert two.differences["policy_score"].value == -3.0  # type: ignore[union-attr]
    assert two.usable.value == 0.0  # type: ignore[union-attr]
    assert two.diversity is None


def test_a_reference_of_which_every_prompt_failed_is_still_compared_with() -> None:
    experiment = an_experiment()
    rows = [an_ablation_row(variant="two", prompt_id=id_) for id_ in PROMPTS]
    two = variant_figures(ExperimentResult(experiment, rows, []))[1]
    assert two.differences["policy_score"].value == 3.0  # type: ignore[union-attr]


def test_a_single_call_does_not_stall() -> None:
    result = a_result()
    rows = [
        an_ablation_row(
            prompt_id=prompt_id, turns=0, stalled=None, diversity=None, outcome=""
        )
        for prompt_id in PROMPTS
    ]
    one = variant_figures(ExperimentResult(result.experiment, rows, []))[0]
    assert one.stalled is None
    assert one.diversity is None
