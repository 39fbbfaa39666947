"""What is wrong with a chain of thought and its response, as a judge sees it.

A judge reads: planted sentences are recognised by their opening words. What it cannot read is in
the row: the policies that have to be applied, and the rules that the thoughts cite.
The kinds of flaws, with what they cost, are in `flaws.toml`.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aidsafe_dagster.engines.rehearsal.phrasebook import openings
from aidsafe_dagster.engines.rehearsal.reading import (
    due_policies,
    policy_of,
    split_sentences,
)
from aidsafe_dagster.engines.rehearsal.speaker import Speaker
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.records import CotRow, Metric, Record, SingleLlmCot


class FlawKind(Record):
    """See the head of `flaws.toml`."""

    costs: Mapping[Metric, int] = {}
    share: float = 1.0
    openings: str = ""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Flaw:
    """A flaw of a subject."""

    kind: str
    thought: int = 0
    """Number of the thought concerned; 0: none in particular."""
    rule: str = ""
    """The rule concerned; empty: none in particular."""

    @property
    def reasons(self) -> tuple[str, ...]:
        return _flaw_kinds()[self.kind].reasons

    def cost(self, metric: Metric) -> int:
        return _flaw_kinds()[self.kind].costs.get(metric, 0)


def find_flaws(speaker: Speaker, subject: Subject) -> list[Flaw]:
    """Return the flaws of a subject, at most one of a kind."""
    flaws = list(_visible_flaws(speaker, subject))
    # A refiner leaves some thoughts with one sentence. Only a CoT of nothing else is shallow.
    if all(len(split_sentences(thought)) == 1 for thought in subject.thoughts):
        # An answer without thoughts is of nothing else either, and has none to name.
        flaws.append(_flaw_at("shallow", subject, min(1, len(subject.thoughts))))
    if _is_of_other_set(speaker, subject.row):
        flaws.append(flaw_somewhere("other_policies", subject, 0.0))
    missing = _missing_policies(speaker, subject.row)
    if missing:
        rule = speaker.best_rule(missing[0])
        flaws.append(Flaw("left_out", rule=rule))
    return flaws


def deserved_score(flaws: list[Flaw], metric: Metric) -> int:
    """Return 1 to 5."""
    cost = sum(flaw.cost(metric) for flaw in flaws)
    return max(1, 5 - cost)


def flaw_somewhere(kind: str, subject: Subject, roll: float) -> Flaw:
    """Return a flaw at the thought that a roll in [0, 1) chooses, one with a rule if there is."""
    numbers = list(_cited_rules(subject.row))
    if not numbers:
        numbers = list(range(1, len(subject.thoughts) + 1))
    if not numbers:
        return Flaw(kind)
    index = int(roll * len(numbers))
    return _flaw_at(kind, subject, numbers[index])


def _visible_flaws(speaker: Speaker, subject: Subject) -> Iterator[Flaw]:
    dice = speaker.prompt_dice
    for name, kind in _flaw_kinds().items():
        if not dice.hits(kind.share, name):
            continue
        # A flaw that shows in no particular words occurs at its share, on any text.
        if not kind.openings:
            yield flaw_somewhere(name, subject, dice.roll(name, "where"))
            continue
        number = _find_opening(subject, openings(kind.openings))
        if number:
            yield _flaw_at(name, subject, number)


def _find_opening(subject: Subject, texts: tuple[str, ...]) -> int:
    """Return the number of the thought that shows one of the texts; 0 if none does."""
    for number, thought in enumerate(subject.thoughts, 1):
        if thought.startswith(texts):
            return number
    # A response follows from the thoughts as a whole; the second is the first on the matter.
    if subject.response.startswith(texts):
        return min(2, len(subject.thoughts))
    return 0


def _is_of_other_set(speaker: Speaker, row: CotRow | None) -> bool:
    """Tell whether an answer was written under other policies, which ask for the opposite."""
    if row is None or not speaker.is_contrary:
        return False
    return row.policies_version != speaker.policies.version


def _missing_policies(speaker: Speaker, row: CotRow | None) -> list[str]:
    """Return the policies that a row has to apply, and cites no rule of."""
    if row is None:
        return []
    # Of an answer that was written under another set, this one may lack some.
    due = tuple(one for one in row.applicable_policies if one in speaker.policies.ids)
    if isinstance(row, SingleLlmCot):
        # The row names those of the source's category alone, since nobody named intents.
        due = due_policies(row, speaker.policies, speaker.prompt_dice)
    cited: set[str] = set()
    for rules in _cited_rules(row).values():
        cited.update(map(policy_of, rules))
    return [policy_id for policy_id in due if policy_id not in cited]


def _flaw_at(kind: str, subject: Subject, number: int) -> Flaw:
    rules = _cited_rules(subject.row).get(number, ("",))
    return Flaw(kind, number, rules[0])


def _cited_rules(row: CotRow | None) -> Mapping[int, tuple[str, ...]]:
    """Return the rules of the thoughts that cite any, by their numbers."""
    thoughts = getattr(row, "thoughts", ())
    return {thought.number: thought.rules for thought in thoughts if thought.rules}


@cache
def _flaw_kinds() -> Mapping[str, FlawKind]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {name: FlawKind.model_validate(value) for name, value in table.items()}
