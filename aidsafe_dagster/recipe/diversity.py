"""How different the opinions of agents are who spoke in the same round.

A round table pays if its agents see different things. An opinion is what an agent would add, so one
that agrees adds nothing. The distance of two opinions is that of Jaccard between the words of their
thoughts: 0 for the same words or two agreements, 1 for no word in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from aidsafe_dagster.recipe.answers import DeliberatorAnswer
from aidsafe_dagster.recipe.loops import tokens


@dataclass(frozen=True)
class Opinion:
    """What one agent said in one round."""

    agent: str
    round: int
    answer: DeliberatorAnswer

    @property
    def words(self) -> frozenset[str]:
        """The words of the thoughts that it would add."""
        if self.answer.verdict == "agree":
            return frozenset()
        words: set[str] = set()
        for added in self.answer.thoughts:
            words.update(tokens(added.thought))
        return frozenset(words)


def opinion_diversity(opinions: Sequence[Opinion]) -> float | None:
    """Return the mean distance of two agents of a round, over the rounds.

    None where no two agents spoke in one round.
    """
    means = []
    for heard in _shared_rounds(opinions):
        pairs = combinations([opinion.words for opinion in heard], 2)
        means.append(fmean(_distance(one, other) for one, other in pairs))
    return fmean(means) if means else None


def split_rounds(opinions: Sequence[Opinion]) -> tuple[int, int]:
    """Return the rounds in which one agreed and another did not, and all that several spoke in."""
    shared = _shared_rounds(opinions)
    split = 0
    for heard in shared:
        verdicts = {opinion.answer.verdict for opinion in heard}
        split += len(verdicts) > 1
    return split, len(shared)


def _shared_rounds(opinions: Sequence[Opinion]) -> list[list[Opinion]]:
    """Return the opinions of each round in which several agents spoke."""
    by_round: dict[int, dict[str, Opinion]] = {}
    for opinion in opinions:
        # An agent that is asked again is heard with its last answer.
        by_round.setdefault(opinion.round, {})[opinion.agent] = opinion
    heard_by_round = [list(by_agent.values()) for by_agent in by_round.values()]
    return [heard for heard in heard_by_round if len(heard) > 1]


def _distance(one: frozenset[str], other: frozenset[str]) -> float:
    union = one | other
    if not union:
        return 0.0
    return 1 - len(one & other) / len(union)
