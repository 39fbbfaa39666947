"""The log of one deliberation as plain text: who said what in which round, and what the refiner made of it.

The paper's release has such a column, `deliberation_log`. Ours names the rules that each thought applies as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aidsafe_dagster.recipe.records import DeliberatedCot, RefinedCot, Thought, ThoughtVerdict


@dataclass(frozen=True)
class DeliberationStory:
    """A refined row, with the deliberation it comes from where that was kept."""

    refined: RefinedCot
    deliberated: DeliberatedCot | None = None


def deliberation_log(row: DeliberationStory) -> str:
    """A paragraph per turn, then the verdicts of the refiner."""
    return "\n\n".join((*_rounds(row), _verdicts(row.refined)))


def _rounds(row: DeliberationStory) -> Iterator[str]:
    thoughts = row.refined.deliberated_thoughts
    turns = (
        {(turn.round, turn.agent): turn for turn in row.deliberated.turns}
        if row.deliberated
        else {}
    )
    spoke = dict.fromkeys((*turns, *((thought.round, thought.agent) for thought in thoughts)))
    for round_, agent in sorted(
        spoke, key=lambda place: place[0]
    ):  # within a round, in the order they spoke
        turn = turns.get((round_, agent))
        verdict = f" {turn.verdict}s: {_line(turn.comment)}" if turn else ":"
        added = [
            _thought(thought)
            for thought in thoughts
            if (thought.round, thought.agent) == (round_, agent)
        ]
        yield "\n".join((f"Round {round_}, {agent}{verdict}", *added))


def _verdicts(row: RefinedCot) -> str:
    kept = [f"[{j.thought}]" for j in row.judgements if j.verdict is ThoughtVerdict.KEEP]
    dropped = [j for j in row.judgements if j.verdict is not ThoughtVerdict.KEEP]
    return "\n".join(
        (
            f"Refiner keeps: {', '.join(kept) or 'nothing'}",
            *(f"Refiner drops [{j.thought}], {j.verdict}: {_line(j.reason)}" for j in dropped),
        )
    )


def _thought(thought: Thought) -> str:
    rules = f" ({', '.join(thought.rules)})" if thought.rules else ""
    return f"[{thought.number}] {_line(thought.text)}{rules}"


def _line(text: str) -> str:
    return " ".join(text.split())
