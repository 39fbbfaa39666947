"""How different agents' opinions are, by hand."""

import pytest

from aidsafe_dagster.recipe.answers import DeliberatorAnswer, ThoughtAnswer
from aidsafe_dagster.recipe.diversity import Opinion, opinion_diversity, split_rounds


def an_opinion(agent: int, round_: int, *thoughts: str) -> Opinion:
    """An agent that would add these thoughts; without any, it agrees."""
    added = [ThoughtAnswer(thought=text, rules=[]) for text in thoughts]
    answer = DeliberatorAnswer(
        comment="said",
        verdict="revise" if thoughts else "agree",
        thoughts=added,
        response="An answer." if thoughts else "",
    )
    return Opinion(f"deliberator_{agent}", round_, answer)


def test_the_same_words_have_no_diversity_and_other_words_have_all() -> None:
    same = [an_opinion(1, 1, "a lock is safe"), an_opinion(2, 1, "A lock is safe!")]
    assert opinion_diversity(same) == 0
    other = [an_opinion(1, 1, "a lock is safe"), an_opinion(2, 1, "nobody gets hurt")]
    assert opinion_diversity(other) == 1


def test_words_in_common_count_by_their_share() -> None:
    heard = [an_opinion(1, 1, "locks are safe"), an_opinion(2, 1, "locks are open")]
    assert opinion_diversity(heard) == pytest.approx(1 - 2 / 4)


def test_two_agreements_are_alike_and_one_against_a_revision_is_not() -> None:
    assert opinion_diversity([an_opinion(1, 1), an_opinion(2, 1)]) == 0
    assert opinion_diversity([an_opinion(1, 1), an_opinion(2, 1, "one more")]) == 1


def test_only_agents_of_the_same_round_are_compared() -> None:
    assert opinion_diversity([]) is None
    assert opinion_diversity([an_opinion(1, 1, "x"), an_opinion(2, 2, "y")]) is None
    rounds = [
        an_opinion(1, 1, "one two"),
        an_opinion(2, 1, "one two"),
        an_opinion(1, 2, "three"),
        an_opinion(2, 2, "four"),
    ]
    assert opinion_diversity(rounds) == pytest.approx(0.5)


def test_three_agents_are_compared_two_by_two() -> None:
    heard = [an_opinion(1, 1, "a"), an_opinion(2, 1, "a"), an_opinion(3, 1, "b")]
    assert opinion_diversity(heard) == pytest.approx(2 / 3)


def test_an_agent_that_is_asked_again_is_heard_once_with_its_last_answer() -> None:
    heard = [an_opinion(1, 1, "a"), an_opinion(2, 1, "b"), an_opinion(2, 1, "a")]
    assert opinion_diversity(heard) == 0


def test_words_without_spaces_are_compared_character_by_character() -> None:
    heard = [an_opinion(1, 1, "锁是安全的"), an_opinion(2, 1, "锁是危险的")]
    diversity = opinion_diversity(heard)
    assert diversity is not None
    assert 0 < diversity < 1


def test_a_round_is_split_if_one_agrees_and_another_does_not() -> None:
    heard = [
        an_opinion(1, 1, "a"),
        an_opinion(2, 1),
        an_opinion(1, 2),
        an_opinion(2, 2),
        an_opinion(1, 3, "b"),
    ]
    assert split_rounds(heard) == (1, 2)
