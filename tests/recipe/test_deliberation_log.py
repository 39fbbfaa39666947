"""The log of a deliberation as plain text."""

from aidsafe_dagster.recipe.deliberation_log import DeliberationStory, deliberation_log
from aidsafe_dagster.recipe.records import Turn
from tests.builders import (
    FIRST,
    SECOND,
    THIRD,
    a_deliberated_cot,
    a_refined_cot,
    a_thought,
)


def test_the_log_has_all_turns_with_their_thoughts_and_the_verdicts_of_the_refiner() -> (
    None
):
    log = deliberation_log(DeliberationStory(a_refined_cot(), a_deliberated_cot()))
    assert log.splitlines() == [
        "Round 0, initializer:",
        f"[1] {FIRST} (illegal.1)",
        f"[2] {SECOND} (illegal.2, helpfulness.1)",
        "",
        "Round 1, deliberator_1 revises: Usefulness is missing.",
        f"[3] {THIRD} (helpfulness.1)",
        "",
        "Round 1, deliberator_2 agrees: Nothing to add.",
        "",
        "Refiner keeps: [1], [2]",
        "Refiner drops [3], redundant: Follows from the first.",
    ]


def test_without_the_deliberation_the_log_still_has_all_thoughts() -> None:
    log = deliberation_log(DeliberationStory(a_refined_cot()))
    assert "Round 1, deliberator_1:\n[3]" in log
    assert "deliberator_2" not in log


def test_agents_of_a_round_appear_in_the_order_in_which_they_spoke() -> None:
    turns = tuple(
        Turn(
            agent=f"deliberator_{n}",
            round=1,
            verdict="revise",
            comment="More.",
            added=(6 - n,),
        )
        for n in (2, 1, 3)
    )
    thoughts = (
        a_thought(),
        *(
            a_thought(number=6 - n, agent=f"deliberator_{n}", round=1)
            for n in (3, 1, 2)
        ),
    )
    deliberated = a_deliberated_cot(thoughts=thoughts, turns=turns)
    refined = a_refined_cot(deliberated_thoughts=thoughts, judgements=())
    log = deliberation_log(DeliberationStory(refined, deliberated))
    positions = [log.index(f"deliberator_{n}") for n in (2, 1, 3)]
    assert positions == sorted(positions)
    assert "Refiner keeps: nothing" in log


def test_a_text_of_several_lines_stays_one_line() -> None:
    thoughts = (a_thought(text="One.\n\nRound 9, nobody: all lies."),)
    refined = a_refined_cot(deliberated_thoughts=thoughts, judgements=())
    log = deliberation_log(DeliberationStory(refined))
    assert "\nRound 9" not in log
