"""The log of one deliberation as plain text: the turns of all rounds, then the refiner's verdicts.

The paper's release has a column `deliberation_log` like it. This one also names the rules that each
thought applies.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    RefinedCot,
    Thought,
    ThoughtVerdict,
)


@dataclass(frozen=True)
class DeliberationStory:
    """A refined row, with its deliberation if that was kept."""

    refined: RefinedCot
    deliberated: DeliberatedCot | None = None


def deliberation_log(story: DeliberationStory) -> str:
    """Return a paragraph per turn, then the refiner's verdicts."""
    return "\n\n".join((*_turn_paragraphs(story), _verdicts(story.refined)))


def _turn_paragraphs(story: DeliberationStory) -> Iterator[str]:
    thoughts = story.refined.deliberated_thoughts
    turns = story.deliberated.turns if story.deliberated else ()
    turn_by_speaker = {(turn.round, turn.agent): turn for turn in turns}
    # Without the turns, the thoughts still tell who spoke in which round.
    speakers = [*turn_by_speaker, *((thought.round, thought.agent) for thought in thoughts)]
    # The sort is stable: within a round, the agents stay in the order in which they spoke.
    for round_, agent in sorted(dict.fromkeys(speakers), key=lambda speaker: speaker[0]):
        turn = turn_by_speaker.get((round_, agent))
        verdict = f" {turn.verdict}s: {_one_line(turn.comment)}" if turn else ":"
        added = [t for t in thoughts if (t.round, t.agent) == (round_, agent)]
        yield "\n".join((f"Round {round_}, {agent}{verdict}", *map(_thought, added)))


def _verdicts(row: RefinedCot) -> str:
    kept, drops = [], []
    for judgement in row.judgements:
        if judgement.verdict is ThoughtVerdict.KEEP:
            kept.append(f"[{judgement.thought}]")
        else:
            reason = _one_line(judgement.reason)
            drops.append(f"Refiner drops [{judgement.thought}], {judgement.verdict}: {reason}")
    return "\n".join((f"Refiner keeps: {', '.join(kept) or 'nothing'}", *drops))


def _thought(thought: Thought) -> str:
    rules = f" ({', '.join(thought.rules)})" if thought.rules else ""
    return f"[{thought.number}] {_one_line(thought.text)}{rules}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
