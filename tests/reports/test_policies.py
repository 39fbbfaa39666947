from pathlib import Path

from aidsafe_dagster.recipe.records import RefinedCot
from aidsafe_dagster.reports.policies import OTHERS, UNNAMED
from tests.builders import a_refined_cot, a_refined_thought
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    column,
    find_section,
    find_table,
)

TITLE = "Share of a category's rows that cite each policy"


def citing(prompt_id: str, category: str, *rules: str) -> RefinedCot:
    return a_refined_cot(
        prompt_id=prompt_id,
        category=category,
        thoughts=(a_refined_thought(rules=rules),),
    )


def test_the_heat_map_has_a_row_per_category_and_a_column_per_policy(
    tmp_path: Path,
) -> None:
    rows = [
        citing("p1", "fraud", "fraud.1", "fraud.2", "helpfulness.1"),
        citing("p2", "fraud", "helpfulness.2"),
        citing("p3", "fraud; theft", "illegal.1", "illegal.2", "gone.1"),
        citing("p4", "", "fraud.1"),
    ]
    section = find_section(
        a_report(a_lake(tmp_path, refined_cots=rows)), "Policy coverage"
    )
    heat = find_table(section, TITLE)
    assert heat.columns == (
        "category",
        "rows",
        "Fraud and deception",
        "Respect and helpfulness",
        "Illegal activity",
    )
    assert column(heat) == ["fraud", UNNAMED, "theft"]
    assert cells(heat, "fraud") == ("3", "33 %", "67 %", "33 %")
    assert cells(heat, "theft") == ("1", "0 %", "0 %", "100 %")
    assert cells(heat, UNNAMED) == ("1", "100 %", "0 %", "0 %")
    assert heat.shades[2] == (None, 0, 0, 1)
    assert section.intro == "Every policy is cited by some row."


def test_uncited_policies_are_named(tmp_path: Path) -> None:
    section = find_section(
        a_report(a_lake(tmp_path, refined_cots=[citing("p1", "", "fraud.1")])),
        "Policy coverage",
    )
    assert section.intro == "No row cites: helpfulness, illegal."


def test_rare_categories_are_merged(tmp_path: Path) -> None:
    rows = [citing(f"p{n}", f"category {n:02}", "fraud.1") for n in range(30)]
    rows += [citing(f"q{n}", f"category {n:02}", "illegal.1") for n in range(10)]
    heat = find_table(
        find_section(a_report(a_lake(tmp_path, refined_cots=rows)), "Policy coverage"),
        TITLE,
    )
    assert len(heat.rows) == 25
    assert cells(heat, "category 00") == ("2", "50 %", "0 %", "50 %")
    assert heat.rows[-1] == (OTHERS, "6", "100 %", "0 %", "0 %")
