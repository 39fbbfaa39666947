"""What is planted against what is found: the report, on rows that the driver made."""

from functools import cache
from pathlib import Path

import pytest

from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.engines.rehearsal.planted import PlantedRecords, planted_path
from aidsafe_dagster.recipe.records import (
    Failure,
    RefinedCot,
    SeedCot,
    Stage,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.stages import check_row
from aidsafe_dagster.reports.planted import NOT_RECORDED, ConfusionLine
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.planted_truth import (
    Results,
    StageResult,
    compare_with_planted,
)
from benchmarks.planted_truth import Rehearsal as PlantedTruthRehearsal
from benchmarks.planted_truth import markdown, rehearse
from tests.engines.rehearsal.rehearsing import FAULTY, ORDINARY, Rehearsal, prompts

ERRING = FAULTY.model_copy(update={"unparsable": 0.03, "refusal": 0.1})
SAMPLE = prompts()[:ORDINARY]


@cache
def rehearsed(settings: RehearsalSettings = ERRING) -> tuple[PlantedRecords, Results]:
    return rehearse(Settings(rehearsal=settings), SAMPLE)


def report(settings: RehearsalSettings = ERRING) -> list[ConfusionLine]:
    return compare_with_planted(*rehearsed(settings))


def lines(what: str, settings: RehearsalSettings = ERRING) -> dict[str, ConfusionLine]:
    """The lines of a kind, by fault."""
    return {
        str(line["fault"]): line
        for line in report(settings)
        if str(line["what"]).startswith(what)
    }


def test_the_refiner_is_measured_by_kind_of_fault_and_by_the_sound_thoughts_it_drops() -> (
    None
):
    by_fault = lines("refiner")
    kinds = {str(verdict) for verdict in ThoughtVerdict if verdict != "keep"}
    assert by_fault.keys() == {*kinds, "any of these"}
    total = by_fault["any of these"]
    assert total["recall"] == pytest.approx(1 - ERRING.refiner_misses, abs=0.06)
    assert total["false_alarm_rate"] == pytest.approx(
        ERRING.refiner_false_removals, abs=0.03
    )
    # A sound thought is dropped for other reasons.
    assert by_fault["deceptive"]["precision"] == 1.0
    dropped = 0
    for row in rehearsed()[1][Stage.REFINED_COTS].rows:
        dropped += sum(judgement.verdict != "keep" for judgement in row.judgements)
    assert total["found"] == dropped


def test_a_refiner_without_errors_finds_all_that_was_planted_and_nothing_else() -> None:
    perfect = ERRING.model_copy(
        update={"refiner_misses": 0.0, "refiner_false_removals": 0.0}
    )
    for line in lines("refiner", perfect).values():
        assert (line["precision"], line["recall"], line["false_alarm_rate"]) == (
            1.0,
            1.0,
            0.0,
        )


def test_the_checks_of_a_finished_row_find_what_was_planted_in_it() -> None:
    by_fault = lines("refined_cots")
    del by_fault["unparsable"]
    assert by_fault.keys() == {"policy_not_covered", "over_filtered", "agent_talk"}
    for fault, line in by_fault.items():
        assert line["planted"] == line["found"] == line["true_positives"] != 0, fault


def test_failed_calls_and_stalled_deliberations_are_found_where_they_were_planted() -> (
    None
):
    expected = {
        "single_llm_cots: failed": {"unparsable", "refused_to_deliberate"},
        "seed_cots: failed": {"unparsable"},
        "deliberated_cots: failed": {"unparsable", "refused_to_deliberate"},
        "deliberated_cots: signatures": {"stalled"},
        "preference_pairs: contrast": {"no_contrast"},
    }
    for what, faults in expected.items():
        by_fault = lines(what)
        assert by_fault.keys() == faults
        for line in by_fault.values():
            assert line["precision"] == line["recall"] == 1.0, what


def test_a_rejected_side_scores_too_high_where_the_target_was_stubborn() -> None:
    line = lines("preference_pairs: score")["rejected_above_score"]
    assert line["precision"] == 1.0
    assert line["recall"] == pytest.approx(0.6, abs=0.35)


def test_judges_see_most_of_what_is_unfaithful_and_now_and_then_what_is_not_there() -> (
    None
):
    line = lines("judge")["policy_to_cot of 3 or less"]
    assert line["recall"] == pytest.approx(0.75, abs=0.15)
    assert line["false_alarm_rate"] == pytest.approx(0.2, abs=0.15)


def test_rows_that_were_drawn_anew_are_compared_with_what_was_planted_in_that_draw() -> (
    None
):
    rehearsal = Rehearsal(ERRING.model_copy(update={"unparsable": 0.3}))
    result = seed_all(rehearsal, {})
    for _ in range(2):
        redraws = {failure.prompt_id: failure.redraws for failure in result.failures}
        assert redraws
        redraws |= {row.prompt_id: row.redraws for row in result.rows}
        result = seed_all(rehearsal, redraws)
        report = compare_with_planted(rehearsal.records, {Stage.SEED_COTS: result})
        assert len(result.failures) == (report[0]["planted"] if report else 0)
        assert all(line["precision"] == line["recall"] == 1.0 for line in report)


def test_refined_rows_that_failed_a_check_are_compared_with_their_second_draw() -> None:
    _, results = rehearsed()
    rehearsal = Rehearsal(ERRING)
    deliberated = {row.prompt_id: row for row in results[Stage.DELIBERATED_COTS].rows}
    rows = []
    for failure in results[Stage.REFINED_COTS].failures:
        row = deliberated[failure.prompt_id]
        rows.append(rehearsal.refine(row, redraws=failure.redraws))
    policies = rehearsal.dialogue_context.policies
    refined = [result for result in rows if isinstance(result, RefinedCot)]
    passed = [
        row for row in refined if check_row(row, CheckSettings(), policies) is None
    ]
    assert len(passed) > 0.8 * len(rows)
    report = compare_with_planted(
        rehearsal.records, {Stage.REFINED_COTS: StageResult(passed)}
    )
    assert not [line for line in report if str(line["what"]).startswith("refined_cots")]


def test_rows_without_records_are_counted_and_left_out_of_every_line() -> None:
    _, results = rehearsed()
    report = compare_with_planted(PlantedRecords([]), results)
    assert {line["fault"] for line in report} == {NOT_RECORDED}
    counts = {str(line["what"]).partition(":")[0]: line["found"] for line in report}
    for stage, result in results.items():
        if stage is not Stage.COT_GRADES:
            # Rows that were left out before anybody was asked hold no answer.
            asked = [failure for failure in result.failures if failure.turn]
            assert counts[stage] == len(result.rows) + len(asked)


def test_answers_replayed_from_the_journal_write_no_second_record(
    tmp_path: Path,
) -> None:
    texts = []
    for _ in range(2):
        rehearsal = PlantedTruthRehearsal(Settings(rehearsal=ERRING), tmp_path)
        rehearsal.run(SAMPLE[:12])
        rehearsal.close()
        texts.append(planted_path(tmp_path).read_text())
    assert texts[0] == texts[1]
    assert len(set(texts[0].splitlines())) == len(texts[0].splitlines()) > 100


def test_nothing_made_gives_no_lines() -> None:
    assert compare_with_planted(rehearsed()[0], {}) == []


def test_the_table_shows_every_line_with_its_counts() -> None:
    table = markdown(report()).splitlines()
    assert len(table) == len(report()) + 2
    assert table[0].startswith("| what | fault | planted | found |")
    assert not any("None" in row for row in table)


def seed_all(rehearsal: Rehearsal, redraws: dict[str, tuple[int, ...]]) -> StageResult:
    rows, failures = list[SeedCot](), list[Failure]()
    for prompt in SAMPLE:
        result = rehearsal.seed(prompt, redraws=redraws.get(prompt.prompt_id, ()))
        if isinstance(result, Failure):
            failures.append(result)
        else:
            rows.append(result)
    return StageResult(rows, failures)
