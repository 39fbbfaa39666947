from pathlib import Path

from aidsafe_dagster.recipe.records import FailureReason, Usage
from aidsafe_dagster.reports.cost import StageTime
from tests.builders import a_failure, a_prompt, a_refined_cot, a_seed_cot, an_sft_row
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    column,
    find_section,
    find_table,
    make_older,
    many,
)

USED = Usage(
    calls=2,
    prompt_tokens=1000,
    cached_tokens=400,
    completion_tokens=100,
    reasoning_tokens=50,
)
LOST = Usage(
    calls=6,
    prompt_tokens=3000,
    cached_tokens=0,
    completion_tokens=600,
    reasoning_tokens=100,
)


def test_the_rows_that_came_out_pay_for_the_failed_ones(tmp_path: Path) -> None:
    rows = many(a_seed_cot, 4, usage=USED)
    lake = a_lake(
        tmp_path,
        failures=[a_failure(usage=LOST)],
        seed_cots=rows,
    )
    section = find_section(a_report(lake), "Cost")
    row = cells(find_table(section, "Calls and tokens"), "seed_cots")
    assert row == (
        "4",
        "1",
        "3.50",
        "1,750",
        "400",
        "22.9 %",
        "250",
        "75",
        "–",
    )
    assert (
        "In total: 14 calls, 7,000 tokens in (1,600 of them cached) and 1,000 tokens out "
        "(300 of them reasoning)."
    ) in section.intro


def test_money_is_told_per_row_and_in_total_where_there_are_prices(
    tmp_path: Path,
) -> None:
    costly = USED.model_copy(update={"cost": 0.25})
    lost = LOST.model_copy(update={"cost": 1.0})
    lake = a_lake(
        tmp_path,
        failures=[a_failure(usage=lost)],
        seed_cots=many(a_seed_cot, 4, usage=costly),
        refined_cots=many(a_refined_cot, 2, usage=costly),
    )
    section = find_section(a_report(lake, currency="EUR"), "Cost")
    money = find_table(section, "Money")
    assert money.columns == ("stage", "EUR per row", "EUR in total")
    assert cells(money, "seed_cots") == ("0.50", "2.00")
    assert cells(money, "refined_cots") == ("0.25", "0.50")
    assert cells(money, "all, per refined row") == ("1.25", "2.50")
    assert "they cost EUR 2.50" in section.intro


def test_without_prices_no_money_is_told(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, seed_cots=[a_seed_cot(usage=USED)])
    section = find_section(a_report(lake), "Cost")
    assert [table.title for table in section.tables] == ["Calls and tokens"]
    assert "cost" not in section.intro


def test_rows_of_an_older_release_count_without_reasoning_and_cost(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path, seed_cots=many(a_seed_cot, 2, usage=USED))
    a_lake(
        tmp_path,
        "demo-0000",
        failures=[a_failure(batch="demo-0000", usage=LOST)],
        seed_cots=[a_seed_cot(batch="demo-0000", usage=USED)],
    )
    make_older(lake, "demo-0000")
    section = find_section(a_report(lake), "Cost")
    row = cells(find_table(section, "Calls and tokens"), "seed_cots")
    assert row[:4] == ("3", "1", "4.00", "2,000")


def test_repaired_answers_are_counted_by_what_was_mended(tmp_path: Path) -> None:
    notes = ("initializer 1: code fence, extra keys",)
    lake = a_lake(
        tmp_path,
        seed_cots=[
            a_seed_cot(usage=USED, repaired=notes),
            a_seed_cot(
                prompt_id="p2",
                usage=USED,
                repaired=("intent_decomposer 0: code fence",),
            ),
        ],
    )
    a_lake(
        tmp_path,
        "demo-0000",
        seed_cots=[a_seed_cot(batch="demo-0000", prompt_id="p3", usage=USED)],
    )
    make_older(lake, "demo-0000")
    table = find_table(find_section(a_report(lake), "Rows lost"), "Answers repaired")
    assert table.rows == (
        ("any", "2", "33.3 %"),
        ("code fence", "2", "33.3 %"),
        ("extra keys", "1", "16.7 %"),
    )


def test_time_covers_only_the_timed_batches(tmp_path: Path) -> None:
    a_lake(
        tmp_path,
        "demo-0001",
        seed_cots=many(a_seed_cot, 8, usage=USED),
    )
    lake = a_lake(
        tmp_path,
        "demo-0002",
        seed_cots=[a_seed_cot(batch="demo-0002", prompt_id="q", usage=USED)],
    )
    report = a_report(
        lake, stage_times={"seed_cots": StageTime(4.0, frozenset({"demo-0001"}))}
    )
    assert (
        cells(
            find_table(find_section(report, "Cost"), "Calls and tokens"), "seed_cots"
        )[-1]
        == "0.500"
    )


def test_stages_that_ask_no_model_have_no_row(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        prompts=[a_prompt()],
        refined_cots=[a_refined_cot(usage=USED)],
        fine_tune_splits=[an_sft_row()],
    )
    table = find_table(find_section(a_report(lake), "Cost"), "Calls and tokens")
    assert column(table) == ["refined_cots", "all, per refined row"]


def test_a_stage_without_a_passed_row_has_no_cost_per_row(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        failures=[a_failure(usage=LOST)],
        seed_cots=[],
    )
    assert cells(
        find_table(find_section(a_report(lake), "Cost"), "Calls and tokens"),
        "seed_cots",
    )[:4] == (
        "0",
        "1",
        "–",
        "–",
    )


def test_losses_are_counted_by_stage_and_reason(tmp_path: Path) -> None:
    failures = [
        a_failure(),
        a_failure(prompt_id="p8"),
        a_failure(prompt_id="p7", reason=FailureReason.REFUSED_TO_DELIBERATE),
        a_failure(
            prompt_id="p6", stage="fine_tune_splits", reason=FailureReason.BELOW_SCORE
        ),
    ]
    lake = a_lake(
        tmp_path,
        failures=failures,
        seed_cots=many(a_seed_cot, 5),
        fine_tune_splits=[an_sft_row()],
    )
    report = a_report(lake)
    section = find_section(report, "Rows lost")
    stages = find_table(section, "By stage")
    reasons = find_table(section, "By reason")
    assert cells(stages, "seed_cots") == ("8", "5", "0", "3", "37.5 %")
    assert cells(stages, "fine_tune_splits") == ("2", "1", "1", "0", "0.0 %")
    assert reasons.rows == (
        ("seed_cots", "unparsable", "failed", "2", "25.0 %"),
        ("seed_cots", "refused_to_deliberate", "failed", "1", "12.5 %"),
        ("fine_tune_splits", "below_score", "left out", "1", "50.0 %"),
    )
    assert report.figures["rows_failed"] == 3
    assert report.figures["rows_left_out"] == 1
