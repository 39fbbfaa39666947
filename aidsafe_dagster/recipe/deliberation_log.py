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
    Turn,
)

_Speaker = tuple[int, str]
"""Round and agent."""


@dataclass(frozen=True)
class DeliberationStory:
    """A refined row, with its deliberation if that was kept."""

    refined: RefinedCot
    deliberated: DeliberatedCot | None = None


def deliberation_log(story: DeliberationStory) -> str:
    """Return a paragraph per turn, then the refiner's verdicts."""
    paragraphs = [*_turn_paragraphs(story), _verdicts(story.refined)]
    return "\n\n".join(paragraphs)


def _turn_paragraphs(story: DeliberationStory) -> Iterator[str]:
    turns: dict[_Speaker, Turn] = {}
    if story.deliberated:
        for turn in story.deliberated.turns:
            turns[turn.round, turn.agent] = turn
    thoughts: dict[_Speaker, list[str]] = {speaker: [] for speaker in turns}
    for thought in story.refined.deliberated_thoughts:
        # Without the turns, the thoughts still tell who spoke in which round.
        lines = thoughts.setdefault((thought.round, thought.agent), [])
        lines.append(_thought(thought))
    # The sort is stable: within a round, the agents stay in the order in which they spoke.
    speakers = sorted(thoughts, key=lambda speaker: speaker[0])
    for speaker in speakers:
        heading = _heading(speaker, turns.get(speaker))
        yield "\n".join((heading, *thoughts[speaker]))


def _heading(speaker: _Speaker, turn: Turn | None) -> str:
    round_, agent = speaker
    if turn is None:
        return f"Round {round_}, {agent}:"
    comment = _one_line(turn.comment)
    return f"Round {round_}, {agent} {turn.verdict}s: {comment}"


def _verdicts(row: RefinedCot) -> str:
    kept = []
    drops = []
    for judgement in row.judgements:
        number = f"[{judgement.thought}]"
        if judgement.verdict is ThoughtVerdict.KEEP:
            kept.append(number)
        else:
            reason = _one_line(judgement.reason)
            drops.append(f"Refiner drops {number}, {judgement.verdict}: {reason}")
    listing = ", ".join(kept) or "nothing"
    return "\n".join((f"Refiner keeps: {listing}", *drops))


def _thought(thought: Thought) -> str:
    text = f"[{thought.number}] {_one_line(thought.text)}"
    if not thought.rules:
        return text
    rules = ", ".join(thought.rules)
    return f"{text} ({rules})"


def _one_line(text: str) -> str:
    # A blank line inside a thought would look like the end of the turn.
    return " ".join(text.split())
