"""Planted truth against what was found: the report, on rows that the driver made of the rehearsal's answers."""

from functools import cache

import pytest

from aidsafe_dagster.engines.rehearsal.confusion import ConfusionRow, line
from aidsafe_dagster.engines.rehearsal.evaluation import (
    RECORDS,
    Outcome,
    outcome_of,
    planted_truth_report,
)
from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import Failure, RefinedCot, SeedCot, Stage, ThoughtVerdict
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.stages import check_row
from aidsafe_dagster.settings.schema import Settings
from benchmarks.planted_truth import Made, markdown, rehearsal_of
from tests.engines.rehearsal.rehearsing import FAULTY, Play, prompts

ERRING = FAULTY.model_copy(update={"unparsable": 0.03, "refusal": 0.1})
ORDINARY = prompts()[:216]


@cache
def made(rehearsal: RehearsalSettings = ERRING) -> Made:
    return rehearsal_of(Settings(rehearsal=rehearsal), ORDINARY)


def report(rehearsal: RehearsalSettings = ERRING) -> list[ConfusionRow]:
    return planted_truth_report(FaultPlan(rehearsal), Settings().load_policies(), made(rehearsal))


def lines(what: str, rehearsal: RehearsalSettings = ERRING) -> dict[str, ConfusionRow]:
    return {
        str(found["fault"]): found
        for found in report(rehearsal)
        if str(found["what"]).startswith(what)
    }


def test_a_line_counts_and_divides_and_says_nothing_where_there_is_nothing_to_divide_by() -> None:
    pairs = [(True, True)] * 3 + [(True, False)] + [(False, True)] * 2 + [(False, False)] * 6
    assert line("w", "f", pairs) == {
        "what": "w",
        "fault": "f",
        "planted": 4,
        "found": 5,
        "true_positives": 3,
        "precision": 0.6,
        "recall": 0.75,
        "false_alarm_rate": 0.25,
    }
    empty = line("w", "f", [(True, False)])
    assert (empty["precision"], empty["recall"], empty["false_alarm_rate"]) == (None, 0.0, None)


def test_the_refiner_is_measured_by_kind_of_fault_and_by_the_sound_thoughts_it_drops() -> None:
    found = lines("refiner")
    assert found.keys() == {*(str(v) for v in ThoughtVerdict if v != "keep"), "any of these"}
    whole = found["any of these"]
    assert whole["recall"] == pytest.approx(1 - ERRING.refiner_misses, abs=0.06)
    assert whole["false_alarm_rate"] == pytest.approx(ERRING.refiner_false_removals, abs=0.03)
    assert found["deceptive"]["precision"] == 1.0  # a sound thought is dropped for other reasons
    rows = made()[Stage.REFINED_COTS].rows
    assert whole["found"] == sum(j.verdict != "keep" for row in rows for j in row.judgements)


def test_a_refiner_without_errors_finds_all_that_was_planted_and_nothing_else() -> None:
    perfect = ERRING.model_copy(update={"refiner_misses": 0.0, "refiner_false_removals": 0.0})
    for found in lines("refiner", perfect).values():
        assert (found["precision"], found["recall"], found["false_alarm_rate"]) == (1.0, 1.0, 0.0)


def test_the_checks_of_a_finished_row_find_what_was_planted_in_it() -> None:
    found = {fault: kept for fault, kept in lines("refined_cots").items() if fault != "unparsable"}
    assert found.keys() == {"policy_not_covered", "over_filtered", "agent_talk"}
    for fault, kept in found.items():
        assert kept["planted"] == kept["found"] == kept["true_positives"] != 0, fault


def test_failed_calls_and_stalled_deliberations_are_found_where_they_were_planted() -> None:
    wanted = {
        "single_llm_cots: failed": {"unparsable", "refused_to_deliberate"},
        "seed_cots: failed": {"unparsable"},
        "deliberated_cots: failed": {"unparsable", "refused_to_deliberate"},
        "deliberated_cots: signatures": {"stalled"},
        "preference_pairs: contrast": {"no_contrast"},
    }
    for what, faults in wanted.items():
        found = lines(what)
        assert found.keys() == faults
        assert all(kept["precision"] == kept["recall"] == 1.0 for kept in found.values()), what


def test_a_margin_is_too_small_where_the_target_was_stubborn_and_nowhere_else() -> None:
    found = lines("preference_pairs: margin")["margin_too_small"]
    assert found["precision"] == 1.0
    assert found["recall"] == pytest.approx(0.6, abs=0.35)


def test_judges_see_most_of_what_is_unfaithful_and_now_and_then_something_that_is_not_there() -> (
    None
):
    found = lines("judge")["policy_to_cot of 3 or less"]
    assert found["recall"] == pytest.approx(0.75, abs=0.15)
    assert found["false_alarm_rate"] == pytest.approx(0.2, abs=0.15)


def test_rows_that_were_drawn_anew_are_held_against_what_was_planted_in_that_draw() -> None:
    play = Play(ERRING.model_copy(update={"unparsable": 0.3}))
    outcome = seeded(play, {})
    for _ in range(2):
        redrawn = {failure.prompt_id: failure.redraws for failure in outcome.failures}
        assert redrawn
        outcome = seeded(play, redrawn | {row.prompt_id: row.redraws for row in outcome.rows})
        found = planted_truth_report(
            play.plan,
            play.dialogue_context.policies,
            {Stage.PROMPTS: Outcome(ORDINARY), Stage.SEED_COTS: outcome},
        )
        assert len(outcome.failures) == (found[0]["planted"] if found else 0)
        assert all(kept["precision"] == kept["recall"] == 1.0 for kept in found)


def test_refined_rows_that_failed_a_check_are_held_against_their_second_draw() -> None:
    play, before = Play(ERRING), made()
    given = {row.prompt_id: row for row in before[Stage.DELIBERATED_COTS].rows}
    rows = [
        play.refine(given[f.prompt_id], redraws=f.redraws)
        for f in before[Stage.REFINED_COTS].failures
    ]
    passed = [row for row in rows if isinstance(row, RefinedCot) and not failed_check(row, play)]
    assert len(passed) > 0.8 * len(rows)
    again = before | {Stage.REFINED_COTS: Outcome(passed)}
    found = planted_truth_report(play.plan, play.dialogue_context.policies, again)
    assert not [kept for kept in found if str(kept["what"]).startswith("refined_cots")]


def test_rows_made_under_other_settings_are_held_against_nothing() -> None:
    assert (
        planted_truth_report(
            FaultPlan(RehearsalSettings(seed=1)), Settings().load_policies(), made()
        )
        == []
    )


def test_the_report_can_be_made_of_the_tables_of_the_lake() -> None:
    stored = {
        stage: outcome_of(
            stage, to_frame(outcome.rows, RECORDS[stage]), to_frame(outcome.failures, Failure)
        )
        for stage, outcome in made().items()
    }
    assert planted_truth_report(FaultPlan(ERRING), Settings().load_policies(), stored) == report()


def test_nothing_made_gives_no_lines() -> None:
    assert planted_truth_report(FaultPlan(ERRING), Settings().load_policies(), {}) == []


def test_the_table_shows_every_line_with_its_counts() -> None:
    table = markdown(report()).splitlines()
    assert len(table) == len(report()) + 2
    assert table[0].startswith("| what | fault | planted | found |")
    assert not any("None" in row for row in table)


def seeded(play: Play, redraws: dict[str, tuple[int, ...]]) -> Outcome:
    results = [play.seed(prompt, redraws=redraws.get(prompt.prompt_id, ())) for prompt in ORDINARY]
    return Outcome(
        [row for row in results if isinstance(row, SeedCot)],
        [row for row in results if isinstance(row, Failure)],
    )


def failed_check(row: RefinedCot, play: Play) -> bool:
    return check_row(row, CheckSettings(), play.dialogue_context.policies) is not None
