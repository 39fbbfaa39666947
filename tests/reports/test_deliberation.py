from itertools import product
from pathlib import Path

from aidsafe_dagster.recipe.records import Judgement, Stage, ThoughtVerdict, Turn
from tests.builders import (
    a_deliberated_cot,
    a_refined_cot,
    a_seed_cot,
    a_single_llm_cot,
)
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    column,
    find_section,
    find_table,
    many,
    query_rows,
)

TITLE = "Deliberation and length"


def turns(rounds: int) -> tuple[Turn, ...]:
    """Two agents in each round."""
    all_turns = []
    for round_, agent in product(range(1, rounds + 1), (1, 2)):
        turn = Turn(
            agent=f"deliberator_{agent}",
            round=round_,
            verdict="revise",
            comment="",
            added=(),
        )
        all_turns.append(turn)
    return tuple(all_turns)


def test_how_deliberations_ended_is_counted(tmp_path: Path) -> None:
    rows = [
        *(
            a_deliberated_cot(prompt_id=f"c{n}", turns=turns(1 + n % 2))
            for n in range(6)
        ),
        *many(a_deliberated_cot, 3, "b", turns=turns(3), outcome="budget"),
        a_deliberated_cot(prompt_id="s", turns=turns(1)[:1], stalled=True),
        a_deliberated_cot(prompt_id="none", turns=(), outcome="budget"),
    ]
    table = find_table(
        find_section(a_report(a_lake(tmp_path, deliberated_cots=rows)), TITLE),
        "How deliberations ended",
    )
    assert dict(zip(column(table), column(table, 1), strict=True)) == {
        "ended by consensus": "7",
        "of these, stalled: agreed on the very first turn": "1",
        "ended when the budget was spent": "4",
        "0 rounds": "1",
        "1 round": "4",
        "2 rounds": "3",
        "3 rounds": "3",
    }
    assert cells(table, "ended by consensus")[1].startswith("63.6 % [")
    assert "3.4 turns and 3.0 thoughts on average" in table.note


def test_verdicts_of_the_refiner_are_counted(tmp_path: Path) -> None:
    verdicts = [ThoughtVerdict.KEEP, ThoughtVerdict.KEEP, ThoughtVerdict.DECEPTIVE]
    judgements = tuple(
        Judgement(thought=n, verdict=v, reason="")
        for n, v in enumerate(verdicts, start=1)
    )
    rows = [
        a_refined_cot(prompt_id=f"p{n}", judgements=judgements, rests_on_dropped=n == 0)
        for n in range(4)
    ]
    table = find_table(
        find_section(a_report(a_lake(tmp_path, refined_cots=rows)), TITLE),
        "What the refiner made of each thought",
    )
    assert cells(table, "keep") == ("8", "66.7 %")
    assert cells(table, "drop: deceptive") == ("4", "33.3 %")
    assert cells(table, "drop: policy-inconsistent") == ("0", "0.0 %")
    assert "Deliberated thoughts: 12. Rows: 4." in table.note
    assert "rests on dropped thoughts alone: 1." in table.note


def test_lengths_match_the_parquet_and_stand_beside_the_paper_s(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        seed_cots=[a_seed_cot(prompt_id=f"p{n}", cot_tokens=100 + n) for n in range(9)],
        single_llm_cots=[a_single_llm_cot(cot_tokens=80)],
        refined_cots=[
            a_refined_cot(prompt_id=f"p{n}", cot_tokens=300 + 7 * n * n)
            for n in range(8)
        ],
    )
    table = find_table(
        find_section(a_report(lake, tokens_counted_by="bytes / 4"), TITLE),
        "Tokens of the chain of thought",
    )
    query = """
        SELECT avg(cot_tokens), quantile_cont(cot_tokens, 0.5), quantile_cont(cot_tokens, 0.95)
        FROM rows
    """
    ((mean, median, high),) = query_rows(
        lake,
        Stage.REFINED_COTS,
        query,
    )
    assert cells(table, "refined") == (
        "8",
        f"{mean:.0f}",
        f"{median:.0f}",
        f"{high:.0f}",
        "about 600",
    )
    assert cells(table, "seed") == ("9", "104", "104", "108", "–")
    assert cells(table, "single LLM")[:2] == ("1", "80")
    assert "deliberated" not in column(table)
    assert table.note == "Counted by: bytes / 4."
