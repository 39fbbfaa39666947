"""The judges and the guard of the rehearsal engine: they grade by what was planted, each with errors of its own."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from statistics import fmean

import pytest

from aidsafe_dagster.engines.rehearsal.faults import CallFault, RehearsalSettings
from aidsafe_dagster.engines.rehearsal.judges import place_of_subject
from aidsafe_dagster.engines.rehearsal.truth import comparison_truth, grade_truth
from aidsafe_dagster.quality.statistics import quadratic_kappa
from aidsafe_dagster.recipe.beliefs import GuardInputs
from aidsafe_dagster.recipe.cot_grades import Versions, subject_of
from aidsafe_dagster.recipe.dialogue import Conversation
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    Grade,
    Metric,
    PreferencePair,
    Role,
    Stage,
)
from tests.engines.rehearsal.rehearsing import FAULTLESS, FAULTY, Play, its, prompts

FAITHFULNESS: tuple[Metric, ...] = ("policy_to_cot", "policy_to_response", "response_to_cot")


@cache
def default_grades() -> tuple[CotGrades, ...]:
    """What two judges make of most prompts under the default settings."""
    play = Play(RehearsalSettings())
    return tuple(
        row for versions in play.versions(140) if isinstance(row := play.grade(versions), CotGrades)
    )


def scores(metric: Metric, version: str) -> list[int]:
    return [
        getattr(g, metric).score
        for row in default_grades()
        for g in row.grades
        if g.version == version
    ]


def subject(versions: Versions, version: str) -> Subject:
    return subject_of(version, getattr(versions, version))  # type: ignore[arg-type]


def test_every_judge_gives_the_scores_of_the_plan_its_errors_included() -> None:
    play, seen = Play(FAULTY), Counter[int]()
    for versions in play.versions(60):
        for grade in its(play.grade(versions)).grades:
            truth = grade_truth(
                play.plan,
                versions.refined,
                play.dialogue_context.policies,
                grade.judge,
                subject(versions, grade.version),
            )
            assert {metric: getattr(grade, metric).score for metric in METRICS} == truth.said
            assert grade.refusal == truth.refusal
            seen.update(truth.said[metric] - truth.deserved[metric] for metric in METRICS)
    assert seen.keys() == {-1, 0, 1}


def test_judges_without_noise_agree_on_everything() -> None:
    play = Play(RehearsalSettings(judge_noise=0, unparsable=0))
    for versions in play.versions(30):
        grades = its(play.grade(versions)).grades
        first, second = grades[: len(grades) // 2], grades[len(grades) // 2 :]
        for one, other in zip(first, second, strict=True):
            assert [getattr(one, metric).score for metric in METRICS] == [
                getattr(other, m).score for m in METRICS
            ]


def test_two_judges_agree_well_and_not_perfectly() -> None:
    pairs = [
        (getattr(one, metric).score, getattr(other, metric).score)
        for row in default_grades()
        for one, other in _by_both_judges(row)
        for metric in METRICS
    ]
    kappa = quadratic_kappa(*zip(*pairs, strict=True))
    assert kappa is not None
    assert 0.6 < kappa < 0.9


def test_only_the_faithfulness_of_the_cot_to_the_policies_tells_the_versions_apart() -> None:
    alone, deliberated, refined = (
        fmean(scores("policy_to_cot", v)) for v in ("single_llm", "deliberated", "refined")
    )
    assert 3.5 < alone < deliberated - 0.2 < refined - 0.2 < 4.7
    for metric in METRICS:
        if metric != "policy_to_cot":
            assert all(
                4.4 < fmean(scores(metric, version)) <= 5 for version in ("single_llm", "refined")
            )


def test_a_score_below_five_has_a_reason_that_names_the_thought_and_the_rule() -> None:
    for row in default_grades():
        for grade in row.grades:
            for metric in METRICS:
                given = getattr(grade, metric)
                assert re.fullmatch(r"\S.*\S\.", given.reason), given.reason
                if given.score < 5:
                    assert re.search(r"\b[a-z_]+\.\d+\b", given.reason), given.reason
                    assert "hought" in given.reason or "policy" in given.reason, given.reason
                if metric in FAITHFULNESS and given.thought:
                    assert f"thought {given.thought}" in given.reason.casefold() or given.score == 5


def test_an_answer_that_does_not_parse_is_counted_where_it_was_planted() -> None:
    play, counted = Play(FAULTY), 0
    for versions in play.versions(60):
        row = play.grade(versions)
        ungraded = (
            {(mark.judge, mark.task) for mark in row.ungraded}
            if isinstance(row, CotGrades)
            else set()
        )
        for judge, version in product(
            (Role.JUDGE, Role.SECOND_JUDGE), ("single_llm", "deliberated")
        ):
            if isinstance(row, CotGrades) and getattr(versions, version):
                place = f"{judge} {place_of_subject(subject(versions, version))}"
                fault = play.plan.call_fault(row.prompt_id, judge, place, 0, declines=False)
                assert ((judge, f"grade {version}") in ungraded) == (fault is CallFault.UNPARSABLE)
                counted += fault is CallFault.UNPARSABLE
    assert counted


def test_preferences_follow_the_plan_and_those_of_a_biased_judge_are_inconsistent_ties() -> None:
    play, seen = Play(FAULTY), Counter[tuple[str, bool]]()
    for versions in play.versions(80):
        for said in its(play.grade(versions)).comparisons:
            sides = subject(versions, said.version), subject(versions, said.against)
            truth = comparison_truth(
                play.plan, versions.refined, play.dialogue_context.policies, said.judge, *sides
            )
            assert (said.outcome, said.consistent) == (truth.outcome, truth.consistent)
            seen[said.outcome, said.consistent] += 1
    assert seen.keys() == {("win", True), ("tie", True), ("loss", True), ("tie", False)}


def test_the_refined_cot_is_preferred_more_often_than_not() -> None:
    outcomes = Counter((c.against, c.outcome) for row in default_grades() for c in row.comparisons)
    assert outcomes["single_llm", "win"] > 2 * outcomes["single_llm", "loss"]
    assert outcomes["deliberated", "win"] > outcomes["deliberated", "loss"]


def test_a_judge_that_goes_by_the_order_prefers_nothing() -> None:
    play = Play(FAULTLESS.model_copy(update={"position_bias": 1.0}))
    row = its(play.grade(play.versions(1)[0]))
    assert {(c.outcome, c.consistent) for c in row.comparisons} == {("tie", False)}


def test_the_guard_is_sure_of_a_misled_answer_and_finds_nothing_in_a_refined_one() -> None:
    play = Play(FAULTLESS)
    rows = play.refinements(25)
    settings = PairSettings(scorer="guard", over_refusal_share=0)
    pairs = play.pairs([play.search(row, share=0) for row in rows], settings)
    for pair in pairs:
        assert isinstance(pair, PreferencePair)
        assert pair.chosen_score > 4.5
        assert pair.margin > 1.5
        assert {score.judge for score in pair.rejected_scores} == {"guard"}


def test_the_guard_says_yes_and_no_with_probabilities_that_sum_to_one() -> None:
    play = Play(FAULTLESS)
    row = play.refinements(1)[0]
    conversation = Conversation(play.dialogue_context, Stage.PREFERENCE_PAIRS, row)
    inputs = GuardInputs(
        row,
        play.dialogue_context.policies,
        play.dialogue_context.policies.ids[0],
        subject_of("refined", row),
    )
    request = next(conversation.classify(Role.GUARD, "Does it?", ("Yes", "No"), inputs))
    shares = json.loads(play.engine.says(request))
    assert shares.keys() == {"Yes", "No"}
    assert sum(shares.values()) == pytest.approx(1)


def test_judges_grade_odd_prompts_too() -> None:
    play = Play(FAULTLESS)
    for prompt in prompts()[216:]:
        deliberated = its(play.deliberate(its(play.seed(prompt))))
        row = its(
            play.grade(
                Versions(its(play.refine(deliberated)), deliberated, its(play.think(prompt)))
            )
        )
        assert len(row.grades) == 6
        assert not row.ungraded


def _by_both_judges(row: CotGrades) -> Iterator[tuple[Grade, Grade]]:
    by_judge = {(grade.judge, grade.version): grade for grade in row.grades}
    for (judge, version), grade in by_judge.items():
        if judge == Role.JUDGE and (Role.SECOND_JUDGE, version) in by_judge:
            yield grade, by_judge[Role.SECOND_JUDGE, version]
