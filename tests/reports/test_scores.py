from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.records import METRICS, Stage
from aidsafe_dagster.reports.paper import AIDSAFE, METRIC_NAMES, SINGLE_LLM
from tests.builders import a_grade, a_refined_cot, a_score, a_seed_cot
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    column,
    find_section,
    find_table,
    graded,
    many,
    query_rows,
    with_grades,
)

TABLE = "The paper's table for this data"
MEANS = """
    SELECT avg(grade.policy_to_cot.score) FILTER (grade.version = 'single_llm'),
           avg(grade.policy_to_cot.score) FILTER (grade.version = 'refined')
    FROM (SELECT prompt_id, unnest(grades) AS grade, len(grades) AS versions FROM rows)
    WHERE versions = {}
"""


def test_the_table_has_the_metrics_order_and_figures_of_the_paper(
    tmp_path: Path,
) -> None:
    rows = many(
        graded,
        4,
        single_llm=3,
        deliberated=4,
        refined=5,
    )
    table = find_table(
        find_section(a_report(a_lake(tmp_path, cot_grades=rows)), "Scores"), TABLE
    )
    assert column(table) == list(METRIC_NAMES.values())
    assert table.columns[1:4] == ("single LLM", "deliberated", "refined")
    assert table.columns[-2:] == ("paper: single LLM", "paper: AIDSAFE")
    for row, metric in zip(table.rows, METRICS, strict=True):
        assert row[1:6] == (
            "3.00 [3.00, 3.00]",
            "4.00 [4.00, 4.00]",
            "5.00 [5.00, 5.00]",
            "+2.00 [+2.00, +2.00]",
            "+1.00 [+1.00, +1.00]",
        )
        assert row[6:] == (f"{SINGLE_LLM[metric]:.2f}", f"{AIDSAFE[metric]:.2f}")
    assert "landmark, not a target" in table.note


def test_means_match_the_parquet_on_prompts_with_every_version(
    tmp_path: Path,
) -> None:
    complete = [
        graded(f"p{n}", single_llm=1 + n % 4, deliberated=3, refined=3 + n % 3)
        for n in range(30)
    ]
    without_baseline = many(graded, 7, "q", deliberated=1, refined=1)
    lake = a_lake(tmp_path, cot_grades=[*complete, *without_baseline])
    report = a_report(lake)
    ((baseline, refined),) = query_rows(
        lake,
        Stage.COT_GRADES,
        MEANS.format(3),
    )
    row = cells(
        find_table(find_section(report, "Scores"), TABLE), "CoT faithful to policy"
    )
    assert row[0].startswith(f"{baseline:.2f} [")
    assert row[2].startswith(f"{refined:.2f} [")
    assert row[3].startswith(f"+{refined - baseline:.2f} [")
    assert report.figures["rows_on_the_same_prompts"] == 30
    assert report.figures["refined_policy_to_cot"] == pytest.approx(refined, abs=1e-4)
    assert report.figures["gain_policy_to_cot"] == pytest.approx(
        refined - baseline, abs=1e-4
    )
    assert "30 prompts" in find_section(report, "Scores").intro
    assert "37 refined rows" in find_section(report, "Scores").intro


def test_the_six_metrics_are_kept_apart(tmp_path: Path) -> None:
    scores: dict[str, Any] = {
        metric: a_score(score=place % 5 + 1) for place, metric in enumerate(METRICS)
    }
    rows = [with_grades("p1", a_grade(version="single_llm"), a_grade(5, **scores))]
    table = find_table(
        find_section(a_report(a_lake(tmp_path, cot_grades=rows)), "Scores"), TABLE
    )
    assert column(table, 3) == ["1.00", "2.00", "3.00", "4.00", "5.00", "1.00"]


def test_a_single_row_has_means_without_intervals(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, cot_grades=[graded("p1", single_llm=3, refined=5)])
    row = cells(find_table(find_section(a_report(lake), "Scores"), TABLE), "relevance")
    assert row[:5] == ("3.00", "–", "5.00", "+2.00", "–")


def test_a_version_that_was_not_graded_is_named_and_has_no_figures(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path, cot_grades=many(graded, 3, deliberated=4, refined=5))
    report = a_report(lake)
    section = find_section(report, "Scores")
    assert "Not graded and not compared: single LLM." in section.intro
    assert cells(find_table(section, TABLE), "relevance")[:4] == (
        "–",
        "4.00 [4.00, 4.00]",
        "5.00 [5.00, 5.00]",
        "–",
    )
    assert "gain_relevance" not in report.figures
    assert [plot.title for plot in section.plots] == [
        "How faithful the CoT is to the policies: share of grades"
    ]


def test_two_judges_are_averaged_and_have_their_own_table(
    tmp_path: Path,
) -> None:
    both = ("judge", "second_judge")
    rows = many(
        graded,
        4,
        judges=both,
        single_llm=(2, 3),
        refined=(5, 4),
    )
    alone = graded("q", ("judge",), single_llm=1, refined=1)
    section = find_section(
        a_report(a_lake(tmp_path, cot_grades=[*rows, alone])), "Scores"
    )
    assert cells(find_table(section, TABLE), "relevance")[:4:3] == (
        "2.50 [2.50, 2.50]",
        "+2.00 [+2.00, +2.00]",
    )
    assert (
        "Mean of the judges: judge (small-chat), second_judge (small-chat)"
        in find_table(section, TABLE).note
    )
    judge = cells(find_table(section, "By judge"), "judge", "relevance")
    assert judge[0].startswith("1.80 [")
    assert judge[-1] == "5"
    second = cells(find_table(section, "By judge"), "second_judge", "relevance")
    assert second == (
        "3.00 [3.00, 3.00]",
        "–",
        "4.00 [4.00, 4.00]",
        "+1.00 [+1.00, +1.00]",
        "4",
    )


def test_with_one_judge_there_is_one_table(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, cot_grades=[graded("p1", single_llm=3, refined=5)])
    assert [table.title for table in find_section(a_report(lake), "Scores").tables] == [
        TABLE
    ]


def test_the_interval_of_the_gain_is_paired(tmp_path: Path) -> None:
    rows = [graded(f"p{n}", single_llm=1 + n % 4, refined=2 + n % 4) for n in range(40)]
    row = cells(
        find_table(
            find_section(a_report(a_lake(tmp_path, cot_grades=rows)), "Scores"), TABLE
        ),
        "relevance",
    )
    assert row[3] == "+1.00 [+1.00, +1.00]"
    assert row[0] != "2.50 [2.50, 2.50]"


def test_versions_that_never_meet_on_a_prompt_are_not_compared(tmp_path: Path) -> None:
    rows = [graded("p1", refined=5), graded("p2", refined=5, single_llm=3)]
    assert (
        a_report(a_lake(tmp_path, cot_grades=rows)).figures["rows_on_the_same_prompts"]
        == 1
    )
    two = [
        with_grades("p1", a_grade(judge="judge")),
        with_grades("p2", a_grade(judge="second_judge")),
    ]
    report = a_report(a_lake(tmp_path / "other", cot_grades=two))
    assert find_section(report, "Scores").intro.startswith(
        "No prompt has a grade of every version by every judge"
    )


def test_a_judge_that_wrote_the_rows_is_a_warning_beside_the_scores(
    tmp_path: Path,
) -> None:
    lake = a_lake(
        tmp_path,
        cot_grades=[with_grades(name, a_grade(model="wise")) for name in ("p1", "p2")],
        seed_cots=[a_seed_cot(prompt_id="p1", model="small, wise")],
        refined_cots=many(a_refined_cot, 2, model="small"),
    )
    intro = find_section(a_report(lake), "Scores").intro
    assert intro.startswith(
        "Warning: judged by a model that wrote them: wise (1 of 2 graded rows)."
    )


def test_another_judge_is_no_warning(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        cot_grades=[with_grades("p0", a_grade(model="wise"))],
        refined_cots=many(a_refined_cot, 1, model="small"),
    )
    assert "Warning" not in find_section(a_report(lake), "Scores").intro
