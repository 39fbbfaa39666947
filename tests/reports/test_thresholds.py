from pathlib import Path

from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.records import FailureReason
from tests.builders import a_failure, a_grade, a_score
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    find_section,
    find_table,
    graded,
    with_grades,
)


def test_each_threshold_shows_the_rows_it_would_keep(tmp_path: Path) -> None:
    rows = [
        graded("p1", refined=5),
        graded("p2", refined=4),
        graded("p3", refined=3),
        graded("p4", refined=2),
    ]
    rows.append(with_grades("p5", a_grade(5, coherence=a_score(score=1))))
    report = a_report(
        a_lake(tmp_path, cot_grades=rows), gate=ScoreGate(policy_to_cot=4.5)
    )
    table = find_table(
        find_section(report, "Score gate"), "Rows that a threshold would keep"
    )
    assert table.columns == (
        "metric",
        "≥ 3",
        "≥ 3.5",
        "≥ 4",
        "≥ 4.5",
        "≥ 5",
        "in force",
    )
    assert cells(table, "CoT faithful to policy") == (
        "4 (80.0 %)",
        "3 (60.0 %)",
        "3 (60.0 %)",
        "2 (40.0 %)",
        "2 (40.0 %)",
        "≥ 4.5",
    )
    assert cells(table, "coherence")[::5] == ("3 (60.0 %)", "–")
    assert cells(table, "all six")[4] == "1 (20.0 %)"


def test_the_report_counts_the_rows_that_each_floor_took(tmp_path: Path) -> None:
    details = (
        "sft: policy_to_response 3.00, 4 is due; response_to_cot 2.00, 4 is due",
        "sft: policy_to_response 3.50, 4 is due",
        "dpo: policy_to_response 3.50, 4 is due",
        "sft: no valid grade",
    )
    failures = [
        a_failure(
            prompt_id=f"p{number}",
            stage="fine_tune_splits",
            reason=FailureReason.BELOW_SCORE,
            detail=detail,
        )
        for number, detail in enumerate(details)
    ]
    lake = a_lake(tmp_path, failures=failures, cot_grades=[graded("p1", refined=5)])
    section = find_section(a_report(lake), "Score gate")
    table = find_table(section, "Rows that the floors took")
    assert cells(table, "response faithful to policy") == ("4", "2", "1")
    assert cells(table, "no valid grade") == ("–", "1", "0")
    assert cells(table, "any of them") == ("–", "3", "1")


def test_a_threshold_applies_to_the_mean_of_the_judges(tmp_path: Path) -> None:
    both = ("judge", "second_judge")
    rows = [graded("p1", both, refined=(5, 4)), graded("p2", both, refined=(5, 3))]
    table = find_table(
        find_section(a_report(a_lake(tmp_path, cot_grades=rows)), "Score gate"),
        "Rows that a threshold would keep",
    )
    assert cells(table, "relevance")[2:5] == ("2 (100.0 %)", "1 (50.0 %)", "0 (0.0 %)")
