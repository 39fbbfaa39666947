"""Verdicts for guards: which policy and rule, how many, and what is left out."""

from typing import Any

from aidsafe_dagster.recipe.feedback import PromptFeedback
from aidsafe_dagster.recipe.guard import GuardVerdict, balance, guard_verdicts
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import Grade, Judgement, ThoughtVerdict
from tests.builders import a_cot_grades, a_grade, a_score, policies
from tests.recipe.test_feedback import feedback

SETTINGS = PairSettings()


def graded(score: int, **changes: Any) -> Grade:
    values = {"score": score, "rule": "fraud.1", "reason": "It helps to deceive."}
    return a_grade(policy_to_response=a_score(**(values | changes)))


def verdicts(one: PromptFeedback) -> list[GuardVerdict]:
    return list(guard_verdicts(one, policies(), SETTINGS))


def on_responses(*grades: Grade) -> list[GuardVerdict]:
    one = feedback(*grades, tried=())
    return [verdict for verdict in verdicts(one) if verdict.subject == "response"]


def test_a_low_score_of_the_response_is_a_violation_of_the_rule_that_the_judge_names() -> (
    None
):
    (verdict,) = on_responses(graded(1))
    assert (verdict.policy.id, verdict.rule) == ("fraud", "fraud.1")
    assert verdict.is_violation
    assert verdict.reason == "It helps to deceive."
    assert verdict.source == "judge on refined"


def test_a_violation_without_a_rule_is_left_out() -> None:
    assert on_responses(graded(1, rule="")) == []


def test_a_response_without_fault_keeps_to_the_first_policy_that_applies() -> None:
    (verdict,) = on_responses(graded(5, rule=""))
    assert (verdict.policy.id, verdict.is_violation) == ("helpfulness", False)


def test_a_response_on_which_judges_disagree_gives_no_verdict() -> None:
    second = graded(5).model_copy(update={"judge": "judge_2"})
    assert on_responses(graded(1), second) == []


def test_two_judges_of_one_opinion_give_one_verdict() -> None:
    second = graded(2).model_copy(update={"judge": "judge_2"})
    assert len(on_responses(graded(1), second)) == 1


def test_a_reason_that_speaks_of_a_thought_comes_with_the_thoughts() -> None:
    (without,) = on_responses(graded(1))
    (verdict,) = on_responses(graded(1, thought=2))
    assert without.thoughts == ""
    assert verdict.thoughts.startswith("[1] ")
    assert "\n[2] " in verdict.thoughts


def test_rows_made_under_another_wording_of_the_policies_give_no_verdict() -> None:
    one = feedback(graded(1))
    older = {"policies_version": "older"}
    row, refined = (
        one.row.model_copy(update=older),
        one.refined.model_copy(update=older),
    )
    other = PromptFeedback(row, refined, grades=a_cot_grades())
    assert verdicts(other) == []


def test_the_refiner_s_verdicts_on_thoughts_are_verdicts_of_the_policy_they_apply() -> (
    None
):
    refined = feedback().refined
    judgements = (
        Judgement(thought=1, verdict=ThoughtVerdict.POLICY_INCONSISTENT, reason="No."),
        Judgement(thought=2, verdict=ThoughtVerdict.KEEP, reason="It carries."),
        Judgement(thought=3, verdict=ThoughtVerdict.REDUNDANT, reason="Again."),
    )
    changed = refined.model_copy(update={"judgements": judgements})
    found = verdicts(feedback(refined=changed, grades=None, tried=()))
    labels = {verdict.text: verdict.is_violation for verdict in found}
    first, second, third = (one.text for one in refined.deliberated_thoughts)
    rules = refined.deliberated_thoughts[0].rules
    expected = {second: False}
    if rules:
        expected[first] = True
    assert labels == expected
    assert third not in labels


def test_a_text_with_a_layout_s_own_mark_is_left_out() -> None:
    refined = feedback().refined.model_copy(
        update={"response": "<END CONVERSATION> safe"}
    )
    one = feedback(graded(1), refined=refined, tried=())
    assert [found for found in verdicts(one) if found.subject == "response"] == []


def test_each_policy_gets_as_many_violations_as_look_alikes_and_benign_ones_first() -> (
    None
):
    (violation,) = on_responses(graded(1))
    rows = {
        kind: violation.row.model_copy(update={"prompt_kind": kind})
        for kind in ("harmful", "borderline", "benign")
    }
    compliant = [
        GuardVerdict(
            row=row,
            policy=violation.policy,
            subject="response",
            text=f"A response to a {kind} request.",
            thoughts="",
            is_violation=False,
            reason="Nothing is wrong.",
            rule="",
            source="judge on refined",
        )
        for kind, row in rows.items()
    ]
    kept = balance([violation, *compliant])
    assert [one.is_violation for one in kept] == [True, False]
    assert kept[1].row.prompt_kind == "benign"


def test_a_policy_without_a_violation_gives_no_row() -> None:
    assert balance(on_responses(graded(5))) == []


def test_grades_given_under_another_wording_give_no_verdict_on_a_response() -> None:
    grades = a_cot_grades(grades=(graded(1),), policies_version="newer")
    one = feedback(tried=(), grades=grades)
    assert [found for found in verdicts(one) if found.subject == "response"] == []
