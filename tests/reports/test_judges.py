from pathlib import Path

import pytest

from aidsafe_dagster.quality.statistics import proportion
from aidsafe_dagster.recipe.records import Stage
from tests.builders import a_comparison, a_grade, a_score, an_ungraded
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    find_section,
    find_table,
    graded,
    many,
    query_rows,
    with_grades,
)

BOTH = ("judge", "second_judge")
OUTCOMES = """
    SELECT c.outcome, count(*)
    FROM (SELECT unnest(comparisons) AS c FROM rows)
    GROUP BY ALL
"""


def compared(
    n: int, outcome: str, *, consistent: bool = True, against: str = "single_llm"
) -> list[object]:
    comparison = a_comparison(outcome=outcome, consistent=consistent, against=against)
    return [
        with_grades(
            f"{outcome}{consistent}{against}{k}", a_grade(), comparisons=(comparison,)
        )
        for k in range(n)
    ]


def test_a_tie_counts_as_half_a_win(tmp_path: Path) -> None:
    rows = [
        *compared(12, "win"),
        *compared(3, "tie"),
        *compared(2, "tie", consistent=False),
        *compared(3, "loss"),
    ]
    lake = a_lake(tmp_path, cot_grades=rows)  # type: ignore[arg-type]
    report = a_report(lake)
    assert dict(query_rows(lake, Stage.COT_GRADES, OUTCOMES)) == {
        "win": 12,
        "tie": 5,
        "loss": 3,
    }
    row = cells(
        find_table(find_section(report, "Preferences"), "Preferences"),
        "refined against single LLM",
        "judge",
    )
    below, above, turned = proportion(14, 20), proportion(15, 20), proportion(2, 20)
    assert below is not None
    assert above is not None
    assert turned is not None
    assert row[:4] == ("20", "12", "5", "3")
    assert (
        row[4]
        == f"72.5 % [{100 * (below.low or 0):.1f}, {100 * (above.high or 0):.1f}]"
    )
    assert (
        row[5]
        == f"10.0 % [{100 * (turned.low or 0):.1f}, {100 * (turned.high or 0):.1f}]"
    )
    assert report.figures["win_rate_against_single_llm"] == 0.725
    assert report.figures["turned_with_the_order_single_llm"] == 0.1
    assert report.headlines[2].value == "72 %"


def test_each_pair_of_versions_has_its_own_row(tmp_path: Path) -> None:
    rows = [*compared(2, "win"), *compared(3, "loss", against="deliberated")]
    lake = a_lake(tmp_path, cot_grades=rows)  # type: ignore[arg-type]
    table = find_table(find_section(a_report(lake), "Preferences"), "Preferences")
    assert [row[:6] for row in table.rows] == [
        ("refined against deliberated", "judge", "3", "0", "0", "3"),
        ("refined against single LLM", "judge", "2", "2", "0", "0"),
    ]


def test_kappa_of_two_judges_matches_a_calculation_by_hand(tmp_path: Path) -> None:
    confusion = {(1, 1): 4, (5, 5): 4, (1, 5): 1, (5, 1): 1}  # 1 - (2/10) / (1/2) = 0.6
    rows = []
    for marks, n in confusion.items():
        rows += many(
            graded,
            n,
            prefix=f"p{marks}",
            judges=BOTH,
            refined=marks,
        )
    report = a_report(a_lake(tmp_path, cot_grades=rows))
    row = cells(
        find_table(find_section(report, "Preferences"), "Agreement of the two judges"),
        "CoT faithful to policy",
    )
    assert row == ("0.60", "80.0 %", "0.00", "10")
    assert report.figures["kappa_policy_to_cot"] == pytest.approx(0.6)


def test_kappa_covers_every_version_that_both_judges_graded(tmp_path: Path) -> None:
    apart = {"relevance": a_score(score=1)}
    rows = [
        with_grades(
            f"p{n}",
            a_grade(5 - n % 2),
            a_grade(5 - n % 2, judge="second_judge", **apart),
            a_grade(3, version="single_llm"),
            a_grade(3, version="single_llm", judge="second_judge"),
            a_grade(2, version="deliberated"),
        )
        for n in range(6)
    ]
    report = a_report(a_lake(tmp_path, cot_grades=rows))
    table = find_table(
        find_section(report, "Preferences"), "Agreement of the two judges"
    )
    assert cells(table, "coherence") == ("1.00", "100.0 %", "0.00", "12")
    assert cells(table, "relevance")[1:] == ("50.0 %", "+1.75", "12")


def test_kappa_is_undefined_where_nothing_varies(tmp_path: Path) -> None:
    rows = many(graded, 3, judges=BOTH, refined=5)
    report = a_report(a_lake(tmp_path, cot_grades=rows))
    table = find_table(
        find_section(report, "Preferences"), "Agreement of the two judges"
    )
    assert cells(table, "relevance") == ("undefined", "100.0 %", "0.00", "3")
    assert not [name for name in report.figures if name.startswith("kappa")]


def test_with_one_judge_the_report_names_the_setting_for_a_second(
    tmp_path: Path,
) -> None:
    report = a_report(a_lake(tmp_path, cot_grades=[graded("p1", refined=5)]))
    assert "grading.judges = 2" in find_section(report, "Preferences").intro


def test_questions_without_an_answer_are_counted_by_judge_and_task(
    tmp_path: Path,
) -> None:
    unanswered = an_ungraded(task="grade single_llm")
    rows = [
        graded("p1", single_llm=3, refined=5),
        graded("p2", single_llm=3, refined=5),
        with_grades(
            "p3",
            a_grade(),
            ungraded=(unanswered, an_ungraded(task="compare refined with single_llm")),
        ),
        with_grades("p4", a_grade(), ungraded=(unanswered,)),
    ]
    report = a_report(a_lake(tmp_path, cot_grades=rows))
    table = find_table(find_section(report, "Preferences"), "Not answered by a judge")
    assert cells(table, "judge", "grade single_llm") == ("2", "50.0 %")
    assert cells(table, "judge", "compare refined with single_llm") == ("1", "100.0 %")
    assert report.figures["ungraded"] == 3
