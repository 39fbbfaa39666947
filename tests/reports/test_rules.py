"""The section on rules, from lakes in which it is known what became of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Judgement,
    RefinedCot,
    ThoughtVerdict,
    Turn,
)
from aidsafe_dagster.reports.html import to_html
from aidsafe_dagster.reports.markdown import to_markdown
from aidsafe_dagster.reports.rules import TITLE
from aidsafe_dagster.reports.sections import Section, Table
from tests.builders import (
    a_deliberated_cot,
    a_grade,
    a_prompt,
    a_refined_cot,
    a_refined_thought,
    a_score,
    a_seed_cot,
    a_thought,
)
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    column,
    find_section,
    find_table,
    with_grades,
)

X, Y, Z = "fraud.1", "fraud.2", "helpfulness.1"


def debated(
    prompt_id: str,
    *turns: Sequence[str],
    agreed: bool = False,
    comment: str = "Mended.",
) -> DeliberatedCot:
    """Return a deliberation whose seed cites Z, and whose turns cite these rules by turns."""
    thoughts = [a_thought(rules=(Z,))]
    records = []
    for place, rules in enumerate(turns):
        where: dict[str, Any] = {
            "agent": f"deliberator_{place % 2 + 1}",
            "round": place // 2 + 1,
        }
        number = place + 2
        thoughts.append(a_thought(number=number, rules=tuple(rules), **where))
        records.append(
            Turn(verdict="revise", comment=comment, added=(number,), **where)
        )
    outcome = "consensus" if agreed else "budget"
    return a_deliberated_cot(
        prompt_id=prompt_id,
        thoughts=tuple(thoughts),
        turns=tuple(records),
        outcome=outcome,
    )


def citing(prompt_id: str, *rules: str, **changes: Any) -> RefinedCot:
    thoughts = (a_refined_thought(rules=rules),)
    return a_refined_cot(prompt_id=prompt_id, thoughts=thoughts, **changes)


def section_of(folder: Path, **rows: Any) -> Section:
    ids = {row.prompt_id for group in rows.values() for row in group}
    seeds = [a_seed_cot(prompt_id=one) for one in sorted(ids)]
    prompts = [a_prompt(prompt_id=one, prompt=f"Why {one}?") for one in sorted(ids)]
    rows = {"prompts": prompts, "seed_cots": seeds, **rows}
    return find_section(a_report(a_lake(folder, **rows)), TITLE)


def pairs_of(section: Section) -> Table:
    return find_table(section, "Rules against each other")


def test_each_rule_is_counted_where_it_applies_is_discussed_and_is_cited(
    tmp_path: Path,
) -> None:
    section = section_of(
        tmp_path,
        deliberated_cots=[debated("p1", [X], agreed=True), debated("p2", [X, Y])],
        refined_cots=[citing("p1", X), citing("p2", Y), citing("p3", Y, "gone.1")],
    )
    table = find_table(section, "Each rule")
    assert cells(table, X)[1:] == ("0", "2", "1", "0", "1")
    assert cells(table, Y)[1:] == ("0", "1", "2", "0", "1")
    assert cells(table, "illegal.1")[1] == "3"
    assert cells(table, "gone.1")[0] == "(no rule of the policies in force)"
    assert "No final chain of thought cites: helpfulness.1" in section.intro


def test_two_rules_that_agents_argue_by_in_turn_stand_against_each_other(
    tmp_path: Path,
) -> None:
    planted = [debated(f"p{n}", [X, Z], [Y, Z], [X], [Y]) for n in range(5)]
    others = [debated(f"q{n}", [X], [Z], agreed=True) for n in range(20)]
    section = section_of(tmp_path, deliberated_cots=[*planted, *others])
    table = pairs_of(section)
    assert table.rows[0] == (f"{X} and {Y}", "5", "5", "100.0 %", "5")
    assert table.marked == {0}
    assert table.to_read[0] == ("p0", "p1", "p2")
    assert f"Rules that stand against each other: {X} and {Y}." in section.intro


def test_they_do_so_too_where_the_agents_agree_in_the_end(tmp_path: Path) -> None:
    rows = [debated(f"p{n}", [X], [Y], [X], agreed=True) for n in range(3)]
    table = pairs_of(section_of(tmp_path, deliberated_cots=rows))
    assert table.rows[0][0] == f"{X} and {Y}"
    assert table.marked == {0}


def test_rules_that_every_turn_rests_on_are_told_from_one_that_is_cited_everywhere(
    tmp_path: Path,
) -> None:
    planted = [debated(f"p{n}", [X, Y, Z], [X, Y, Z]) for n in range(4)]
    others = [debated(f"q{n}", [Z], [Z], agreed=True) for n in range(20)]
    table = pairs_of(section_of(tmp_path, deliberated_cots=[*planted, *others]))
    assert column(table)[0] == f"{X} and {Y}"
    assert table.marked == {0}


def test_a_comment_that_names_a_conflict_counts_and_a_list_of_rules_does_not(
    tmp_path: Path,
) -> None:
    listing = f"Neither {X} nor {Y} is applied yet."
    conflict = f"{X} conflicts with {Y} here."
    rows = [debated(f"p{n}", [X, Y], agreed=True, comment=listing) for n in range(3)]
    section = section_of(tmp_path, deliberated_cots=rows)
    assert "No pair of rules stands out" in section.intro
    rows = [debated(f"p{n}", [X, Y], agreed=True, comment=conflict) for n in range(3)]
    other = section_of(tmp_path / "named", deliberated_cots=rows)
    assert pairs_of(other).rows[0][0] == f"{X} and {Y}"


def test_turns_that_follow_each_other_are_no_conflict(tmp_path: Path) -> None:
    rows = [debated(f"p{n}", [X], [Y], agreed=True) for n in range(9)]
    section = section_of(tmp_path, deliberated_cots=rows)
    assert "Rules against each other" not in [one.title for one in section.tables]


def test_misuse_is_what_the_refiner_drops_and_what_a_judge_names(
    tmp_path: Path,
) -> None:
    inconsistent = Judgement(
        thought=1, verdict=ThoughtVerdict.POLICY_INCONSISTENT, reason=f"Against {Y}."
    )
    dropped = citing(
        "p1",
        Z,
        deliberated_thoughts=(a_thought(rules=(X,)),),
        judgements=(inconsistent,),
    )
    low = a_grade(policy_to_cot=a_score(score=2, rule=X))
    high = a_grade(policy_to_cot=a_score(score=4, rule=X))
    section = section_of(
        tmp_path,
        refined_cots=[dropped],
        cot_grades=[with_grades("p2", low), with_grades("p3", high)],
    )
    table = find_table(section, "Rules that are misused")
    assert cells(table, X)[1:3] == ("1", "1")
    assert table.to_read == (("p1", "p2"),)


def test_the_rule_behind_needless_refusals_is_the_one_that_is_cited_there_alone(
    tmp_path: Path,
) -> None:
    refined = []
    grades = []
    for n in range(12):
        is_refused = n < 4
        rules = (Z, X) if is_refused else (Z,)
        refined.append(citing(f"p{n}", *rules))
        grade = a_grade(refusal="full" if is_refused else "none")
        grades.append(with_grades(f"p{n}", grade, prompt_kind="benign"))
    # Declining what is harmful is no fault of a rule.
    refined.append(citing("q", Y))
    grades.append(with_grades("q", a_grade(refusal="full"), prompt_kind="harmful"))
    section = section_of(tmp_path, refined_cots=refined, cot_grades=grades)
    table = find_table(section, "Rules behind needless refusals")
    assert column(table) == [X, Z]
    assert cells(table, X)[1:] == ("4", "4", "100.0 %", "0.0 %", "+100.0 pp")
    assert len(table.to_read[0]) == 3
    assert f"declined most where {X} is cited: 4 of 4" in section.intro


def test_prompts_without_agreement_are_listed_with_what_was_argued_by(
    tmp_path: Path,
) -> None:
    rows = [debated("p1", [X], [Y]), debated("p2", [X], [Y], agreed=True)]
    section = section_of(tmp_path, deliberated_cots=rows)
    table = find_table(section, "Prompts on which agents ended without agreement")
    assert table.rows == (("Why p1?", f"{X}, {Y}"),)
    assert table.to_read == (("p1",),)


def test_the_page_links_each_transcript_and_markdown_names_it(tmp_path: Path) -> None:
    rows = [debated("<b>p1", [X], [Y])]
    lake = a_lake(tmp_path, deliberated_cots=rows, seed_cots=[a_seed_cot()])
    report = a_report(lake, rows_url="http://127.0.0.1:3100")
    page = to_html(report, "Report")
    assert 'href="http://127.0.0.1:3100/prompt/&lt;b&gt;p1"' in page
    assert "<b>p1" not in page
    assert "to read" in to_markdown(report, "Report")


def test_without_rows_the_section_says_so(tmp_path: Path) -> None:
    section = find_section(a_report(a_lake(tmp_path)), TITLE)
    assert section.intro == "No prompt has been deliberated yet."
    assert section.tables == ()
