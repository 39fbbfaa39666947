"""Which rules stood against each other in a deliberation, as far as its turns show it.

Agents seldom say "these two rules contradict each other". What shows it:

- back and forth: one agent argues by one rule, the next by the other, and then somebody by the
  first again;
- named: an agent, the refiner or a judge names both, with a word of conflict;
- both to the end: every turn rests on both, and the agents do not agree;
- open at the end: the last two turns argue by one each, and the agents do not agree.

The last two show it less surely: any rule of such a deliberation may be what they do not agree on.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

RulePair = tuple[str, str]
"""In the order of the ids."""
_RULE_ID = re.compile(r"\b[A-Za-z][A-Za-z0-9_]{0,63}\.[0-9]{1,3}\b")
_CONFLICT = re.compile(
    r"conflict|contradict|incompatib|at odds|tension|cannot both|can't both|versus|\bvs\b"
    r"|goes against|stands? against|overrid|outweigh|clash|widerspr|konflikt|contred|conflit"
    r"|contradic|冲突|矛盾|تعارض|противореч",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Move:
    """What one agent argued in one turn; the seed is the first."""

    agent: str
    round: int
    rules: frozenset[str]


@dataclass(frozen=True)
class Debate:
    """One deliberation, reduced to who argued by which rules."""

    prompt_id: str
    agreed: bool
    moves: tuple[Move, ...]
    named: frozenset[RulePair]
    """Pairs that a comment names, with a word of conflict."""

    @property
    def rules(self) -> frozenset[str]:
        """All rules that it cites."""
        rules: set[str] = set()
        for move in self.moves:
            rules |= move.rules
        return frozenset(rules)

    @property
    def open_rules(self) -> frozenset[str]:
        """The rules of its last two turns, if the agents did not agree."""
        rules: set[str] = set()
        if not self.agreed:
            for move in self.moves[-2:]:
                rules |= move.rules
        return frozenset(rules)


def read_debate(row: Mapping[str, Any]) -> Debate:
    """Return a row of `deliberated_cots`, of which it needs `outcome`, `turns` and `thoughts`."""
    rules_of: dict[tuple[int, str], set[str]] = {}
    for thought in row["thoughts"]:
        place = (thought["round"], thought["agent"])
        rules_of.setdefault(place, set()).update(thought["rules"])
    seeds = [place for place in rules_of if place[0] == 0]
    revisions = []
    named: set[RulePair] = set()
    for turn in row["turns"]:
        if turn["verdict"] == "revise":
            revisions.append((turn["round"], turn["agent"]))
            named.update(named_pairs(turn["comment"]))
    moves = []
    for round_, agent in (*seeds, *revisions):
        rules = frozenset(rules_of.get((round_, agent), ()))
        if rules:
            moves.append(Move(agent, round_, rules))
    # Without a turn nobody could agree.
    agreed = row["outcome"] == "consensus" or not row["turns"]
    return Debate(row["prompt_id"], agreed, tuple(moves), frozenset(named))


def plain_disputes(debate: Debate) -> frozenset[RulePair]:
    """Return the pairs that stood against each other for all to see."""
    return frozenset(_back_and_forth(debate.moves)) | debate.named


def likely_disputes(debate: Debate) -> frozenset[RulePair]:
    """Return the pairs that may be why the agents did not agree."""
    if debate.agreed:
        return frozenset()
    pairs = _both_to_the_end(debate.moves) | _open_at_the_end(debate.moves)
    return frozenset(pairs)


def named_pairs(text: str, rules: Collection[str] = ()) -> Iterator[RulePair]:
    """Yield the pairs that a text names, with a word of conflict.

    Args:
        text: a comment or a reason.
        rules: those that the text is about, and need not name.
    """
    if not _CONFLICT.search(text):
        return
    named = set(_RULE_ID.findall(text))
    if not rules:
        yield from pairs_in(named)
    for rule in rules:
        for other in named - set(rules):
            yield min(rule, other), max(rule, other)


def pairs_in(rules: Collection[str]) -> Iterator[RulePair]:
    """Yield every pair of different rules."""
    yield from combinations(sorted(set(rules)), 2)


def _oppositions(one: Move, other: Move) -> Iterator[RulePair]:
    """Yield what one agent argued by and the next did not, with what that one argued by instead."""
    if one.agent == other.agent:
        return
    for first in one.rules - other.rules:
        for second in other.rules - one.rules:
            yield first, second


def _back_and_forth(moves: Sequence[Move]) -> Iterator[RulePair]:
    # The seed argues against nobody.
    turns = [move for move in moves if move.round > 0]
    steps: Counter[RulePair] = Counter()
    for one, other in pairwise(turns):
        steps.update(_oppositions(one, other))
    for first, second in steps:
        if first < second and (second, first) in steps:
            yield first, second


def _both_to_the_end(moves: Sequence[Move]) -> set[RulePair]:
    turns = [move for move in moves if move.round > 0]
    if len(turns) < 2:
        return set()
    common = frozenset.intersection(*(move.rules for move in turns))
    return set(pairs_in(common))


def _open_at_the_end(moves: Sequence[Move]) -> set[RulePair]:
    turns = [move for move in moves if move.round > 0]
    if len(turns) < 2:
        return set()
    pairs = set()
    for first, second in _oppositions(turns[-2], turns[-1]):
        pairs.add((min(first, second), max(first, second)))
    return pairs
