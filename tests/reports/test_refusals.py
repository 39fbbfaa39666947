from pathlib import Path

from aidsafe_dagster.quality.statistics import proportion
from aidsafe_dagster.recipe.records import CotGrades
from tests.builders import a_grade
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    column,
    find_section,
    find_table,
    with_grades,
)


def refusing(n: int, kind: str, single_llm: str, refined: str) -> list[CotGrades]:
    return [
        with_grades(
            f"{kind}{single_llm}{refined}{k}",
            a_grade(version="single_llm", refusal=single_llm),
            a_grade(refusal=refined),
            prompt_kind=kind,
        )
        for k in range(n)
    ]


def test_refusals_are_counted_by_kind_of_prompt_and_version(tmp_path: Path) -> None:
    rows = [
        *refusing(3, "benign", "full", "none"),
        *refusing(9, "benign", "none", "none"),
        *refusing(2, "benign", "partial", "full"),
        *refusing(4, "harmful", "none", "full"),
    ]
    report = a_report(a_lake(tmp_path, cot_grades=rows))
    table = find_table(find_section(report, "Refusals"), "Refusals by kind of prompt")

    def percentage(count: int, n: int) -> str:
        share = proportion(count, n)
        assert share is not None
        low, high = 100 * (share.low or 0), 100 * (share.high or 0)
        return f"{100 * share.value:.1f} % [{low:.1f}, {high:.1f}]"

    assert cells(table, "benign", "single LLM", "judge") == (
        "14",
        percentage(3, 14),
        percentage(2, 14),
    )
    assert cells(table, "benign", "refined", "judge") == (
        "14",
        percentage(2, 14),
        percentage(0, 14),
    )
    assert cells(table, "harmful", "refined", "judge") == (
        "4",
        percentage(4, 4),
        percentage(0, 4),
    )
    assert "borderline" not in column(table)
    assert report.figures["over_refusal"] == round(2 / 14, 4)
    assert report.headlines[3].value == "14 %"


def test_without_grades_there_is_no_rate(tmp_path: Path) -> None:
    report = a_report(a_lake(tmp_path))
    assert find_section(report, "Refusals").tables == ()
    assert "over_refusal" not in report.figures
    assert report.headlines[3].value == "–"
