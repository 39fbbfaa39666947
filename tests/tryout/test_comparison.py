"""Two results of one prompt: what differs, and what is better."""

from typing import Any

from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.records import (
    FailureReason,
    Judgement,
    Row,
    Stage,
    ThoughtVerdict,
    Usage,
)
from aidsafe_dagster.tryout.comparison import balance, compare_prompt
from aidsafe_dagster.tryout.results import Spent, TriedPrompt, tried_prompt
from tests.builders import (
    a_cot_grades,
    a_failure,
    a_grade,
    a_pair,
    a_prompt,
    a_refined_cot,
)


def tried(*rows: Row, failures: tuple[Any, ...] = ()) -> TriedPrompt:
    stages = {
        "RefinedCot": Stage.REFINED_COTS,
        "CotGrades": Stage.COT_GRADES,
        "PreferencePair": Stage.PREFERENCE_PAIRS,
    }
    by_stage: dict[str, Row] = {stages[type(row).__name__]: row for row in rows}
    spent = Spent(new=Usage(), seconds=0)
    return tried_prompt(a_prompt(), by_stage, failures, (), (), spent, ScoreGate())


def test_two_equal_results_do_not_differ() -> None:
    rows = (a_refined_cot(), a_cot_grades(), a_pair())
    assert compare_prompt(tried(*rows), tried(*rows)).is_same


def test_another_response_and_another_verdict_are_named() -> None:
    dropped = Judgement(
        thought=2, verdict=ThoughtVerdict.REDUNDANT, reason="said before"
    )
    kept = a_refined_cot()
    before = tried(kept)
    judgements = (kept.judgements[0], dropped, *kept.judgements[2:])
    after = tried(kept.model_copy(update={"response": "No.", "judgements": judgements}))
    comparison = compare_prompt(before, after)
    assert [one.title for one in comparison.texts] == ["response"]
    (value,) = comparison.values
    assert (value.name, value.before, value.after, value.reason) == (
        "verdict on thought 2",
        "keep",
        "redundant",
        "said before",
    )


def test_a_row_that_fails_now_says_at_which_stage_and_why() -> None:
    failure = a_failure(
        stage=Stage.REFINED_COTS, reason=FailureReason.UNPARSABLE, detail="no JSON"
    )
    comparison = compare_prompt(tried(a_refined_cot()), tried(failures=(failure,)))
    value = comparison.values[0]
    assert (value.name, value.before, value.after, value.reason) == (
        Stage.REFINED_COTS,
        "made",
        "failed (unparsable)",
        "no JSON",
    )
    assert {one.after for one in comparison.texts} == {""}


def test_scores_are_compared_metric_by_metric() -> None:
    before = a_cot_grades(grades=(a_grade(score=3),))
    after = a_cot_grades(grades=(a_grade(score=5),))
    comparison = compare_prompt(tried(before), tried(after))
    assert comparison.values[0].name == "relevance (judge)"
    assert all(one.before == "3" for one in comparison.values)


def test_the_balance_says_what_is_better_and_what_is_worse() -> None:
    failure = a_failure(stage=Stage.REFINED_COTS)
    worse = tried(failures=(failure,))
    better = tried(a_refined_cot(), a_pair())
    figures = {one.name: one for one in balance([(worse, better)])}
    assert figures["prompts that failed"].is_better is True
    assert figures["with a preference pair"].is_better is True
    figures = {one.name: one for one in balance([(better, worse)])}
    assert figures["prompts that failed"].is_better is False
    # Whether a refusal is due depends on the prompt.
    assert figures["responses that refuse"].is_better is None
