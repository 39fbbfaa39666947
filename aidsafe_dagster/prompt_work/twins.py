"""Benign twins of harmful prompts: written by the model, sifted, and placed by a judge.

Each twin is one call of the writer, for one benign intent of one harmful prompt, and one of the
judge, who is not told what the text was written for. Nothing that is asked hangs on another answer,
so what the journal holds is never asked again, whatever comes to the dataset in between.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.policy_work.asking import Asked
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.prompt_work.growing import PromptWriter
from aidsafe_dagster.prompt_work.parents import FindMatches, Parent, Parents
from aidsafe_dagster.prompt_work.sieve import Why, as_prompt, count_reasons
from aidsafe_dagster.recipe.benign_twins import twin_conversation, write_twin
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.grown_prompts import (
    Placement,
    WriterContext,
    is_refusal,
    place_conversation,
    place_prompt,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    Derivation,
    Failure,
    FailureReason,
    Prompt,
    Role,
    Usage,
)
from aidsafe_dagster.recipe.templates import PROMPT_WORK
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.clusters import Duplicate, Thresholds, admit
from aidsafe_dagster.sources.overlap import distinctive_words, paired_signs
from aidsafe_dagster.sources.wording import normalised_words

METHOD = "benign_twin"
BENIGN_CATEGORY = "benign"
_RECORDS = re.compile(r"twins-(\d+)\.json")
_STEM_CHARS = 5
"""Words with the same beginning count as the same word: lock, locks, locking."""


@dataclass(frozen=True)
class Wish:
    """A twin that is to be written."""

    parent: Parent
    intent: str


@dataclass(frozen=True)
class Twin:
    """A twin that passed."""

    wish: Wish
    text: str


@dataclass(frozen=True)
class LostTwin:
    """A twin that was asked for and is not there."""

    wish: Wish
    why: Why
    detail: str
    text: str = ""
    """Empty where there was no valid answer."""


@dataclass(frozen=True)
class Twins:
    """What came of asking."""

    wishes: int
    taken: tuple[Twin, ...]
    lost: tuple[LostTwin, ...]
    model: str
    simulated: bool
    usage: Usage
    replayed: int

    @property
    def counts(self) -> Mapping[Why, int]:
        """What is not there, by reason, in the order of `Why`."""
        return count_reasons(one.why for one in self.lost)


def find_wishes(parents: Parents, per_prompt: int, most: int) -> list[Wish]:
    """Return the twins that are to be written: of each prompt one per benign intent.

    Args:
        parents: harmful prompts; what they have twins for is not asked again.
        per_prompt: intents of each prompt, at most; the first ones.
        most: twins in all.
    """
    wishes = []
    for parent in parents.eligible:
        for intent in parent.benign_intents[:per_prompt]:
            if (METHOD, parent.prompt.prompt_id, intent) not in parents.variants:
                wishes.append(Wish(parent, intent))
    return wishes[:most]


class TwinMaker:
    """Has twins written, and keeps those that are some.

    Args:
        writer: asks the models.
        policies: what the judge places prompts by.
        known: all prompts of the dataset.
        thresholds: from which on ingestion would drop a twin.
        find_matches: in the evaluation sets in force.
    """

    def __init__(
        self,
        writer: PromptWriter,
        policies: Policies,
        known: Sequence[Prompt],
        thresholds: Thresholds,
        find_matches: FindMatches,
    ) -> None:
        self._writer = writer
        self._policies = policies
        self._known = known
        self._thresholds = thresholds
        self._find_matches = find_matches

    def make(self, wishes: Sequence[Wish]) -> Twins:
        """Return the twins, and what became of the others.

        Raises:
            SetupError: no call can succeed. What was answered is in the journal.
        """
        written = self._write(wishes)
        offers: list[Twin] = []
        lost: list[LostTwin] = []
        for wish, result in zip(wishes, written.results, strict=True):
            if isinstance(result, Failure):
                lost.append(_unanswered(wish, result))
            else:
                offers.append(Twin(wish, result))
        for step in (self._unlike, self._duplicates, self._contaminated):
            losses = dict(step(offers))
            lost.extend(losses.values())
            offers = [
                offer for place, offer in enumerate(offers) if place not in losses
            ]
        placed = self._place(offers)
        taken = []
        for offer, placement in zip(offers, placed.results, strict=True):
            loss = _misplaced(offer, placement)
            if loss:
                lost.append(loss)
            else:
                taken.append(offer)
        return Twins(
            len(wishes),
            tuple(taken),
            tuple(lost),
            written.model,
            written.simulated or placed.simulated,
            written.usage + placed.usage,
            written.replayed + placed.replayed,
        )

    def _write(self, wishes: Sequence[Wish]) -> Asked[str]:
        def make(context: WriterContext) -> list[DialogueTask[str]]:
            tasks = []
            for wish in wishes:
                harmful = wish.parent.prompt
                conversation = twin_conversation(context, harmful, wish.intent)
                dialogue = write_twin(conversation, harmful, wish.intent)
                tasks.append(DialogueTask(conversation, dialogue))
            return tasks

        return self._writer.ask(make, Role.PROMPT_WRITER)

    def _place(self, offers: Sequence[Twin]) -> Asked[Placement]:
        rules = {rule: self._policies.rule(rule) for rule in self._policies.rule_ids}

        def make(context: WriterContext) -> list[DialogueTask[Placement]]:
            tasks = []
            for offer in offers:
                conversation = place_conversation(context, offer.text, 0)
                tasks.append(
                    DialogueTask(conversation, place_prompt(conversation, rules))
                )
            return tasks

        return self._writer.ask(make, Role.JUDGE)

    def _unlike(self, offers: Sequence[Twin]) -> Iterator[tuple[int, LostTwin]]:
        for place, offer in enumerate(offers):
            harmful = offer.wish.parent.prompt
            if is_refusal(offer.text):
                yield place, _lost(offer, Why.REFUSAL, "it declines")
            elif _stems(offer.text) == _stems(harmful.prompt):
                yield place, _lost(offer, Why.SAME_MEANING, "in the prompt's words")
            elif not _stems(offer.text) & _stems(
                f"{harmful.whole} {offer.wish.intent}"
            ):
                detail = "it shares no word with the prompt"
                yield place, _lost(offer, Why.OFF_TOPIC, detail)

    def _duplicates(self, offers: Sequence[Twin]) -> Iterator[tuple[int, LostTwin]]:
        """Find what ingestion would drop."""
        prompts = [_as_twin(offer) for offer in offers]
        decisions = admit(self._known, prompts, self._thresholds)
        for place, decision in enumerate(decisions):
            if isinstance(decision, Duplicate):
                detail = f"of {decision.original.prompt_id}"
                yield place, _lost(offers[place], Why.DUPLICATE, detail)

    def _contaminated(self, offers: Sequence[Twin]) -> Iterator[tuple[int, LostTwin]]:
        prompts = [as_prompt(offer.text) for offer in offers]
        matches = self._find_matches(prompts)
        for place, prompt in enumerate(prompts):
            match = matches.get(prompt.prompt_id)
            if match:
                detail = f"{match.set}, by {match.rule}"
                yield place, _lost(offers[place], Why.CONTAMINATED, detail)


def twin_row(twin: Twin, twins: Twins, licence: str) -> Mapping[str, Any]:
    """Return the row of a source.

    Args:
        twin: the twin.
        twins: says who wrote it.
        licence: of the row; empty: that of the harmful prompt, whose words it shares.
    """
    harmful = twin.wish.parent.prompt
    derivation = Derivation(
        method=METHOD,
        parent=harmful.prompt_id,
        kind="benign",
        detail=twin.wish.intent,
        model=twins.model,
        simulated=twins.simulated or harmful.is_made_up,
    )
    return {
        "prompt": twin.text,
        # Under that of the harmful prompt, a policy on the harm would have to be applied.
        "category": BENIGN_CATEGORY,
        "licence": licence or harmful.licence,
        "derivation": derivation.model_dump(exclude={"parent_texts"}),
    }


def record_twins(settings: Settings, twins: Twins) -> Path:
    """Record what was asked for, taken and lost, as `<home>/prompt_work/twins-0001.json`.

    Raises:
        SetupError: the file cannot be written.
    """
    folder = settings.home / PROMPT_WORK
    matches = [_RECORDS.fullmatch(path.name) for path in folder.glob("twins-*.json")]
    number = max((int(match[1]) for match in matches if match), default=0) + 1
    path = folder / f"twins-{number:04d}.json"
    taken = [{**_values(twin.wish), "prompt": twin.text} for twin in twins.taken]
    lost = []
    for one in twins.lost:
        row = {"why": one.why, "detail": one.detail, "text": one.text}
        lost.append({**_values(one.wish), **row})
    values = {
        "asked": twins.wishes,
        "taken": taken,
        "left_out": lost,
        "left_out_by_reason": {str(why): count for why, count in twins.counts.items()},
        "model": twins.model,
        "simulated": twins.simulated,
        "usage": twins.usage.model_dump(),
        "replayed": twins.replayed,
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, ensure_ascii=False, indent=1), "utf-8")
    return path


def _values(wish: Wish) -> dict[str, str]:
    harmful = wish.parent.prompt
    return {
        "parent": harmful.prompt_id,
        "harmful": harmful.prompt,
        "intent": wish.intent,
    }


def _as_twin(offer: Twin) -> Prompt:
    derivation = Derivation(method=METHOD, parent=offer.wish.parent.prompt.prompt_id)
    return as_prompt(offer.text).model_copy(update={"derivation": derivation})


def _stems(text: str) -> frozenset[str]:
    """Return the beginnings of the words that tell what a text is about."""
    words = normalised_words(text)
    telling = paired_signs(distinctive_words(words) or words)
    return frozenset(word[:_STEM_CHARS] for word in telling)


def _lost(offer: Twin, why: Why, detail: str) -> LostTwin:
    return LostTwin(offer.wish, why, detail, offer.text)


def _unanswered(wish: Wish, failure: Failure) -> LostTwin:
    why = Why.NO_ANSWER
    if failure.reason is FailureReason.REFUSED_TO_DELIBERATE:
        why = Why.REFUSAL
    elif failure.reason is FailureReason.BAD_TEXT:
        why = Why.BAD_TEXT
    return LostTwin(wish, why, f"{failure.reason}: {failure.detail}")


def _misplaced(offer: Twin, placement: Placement | Failure) -> LostTwin | None:
    """Return why the judge's placement keeps a twin out; None if it does not."""
    if isinstance(placement, Failure):
        detail = f"{placement.reason}: {placement.detail}"
        return _lost(offer, Why.NOT_PLACED, detail)
    if placement.kind != "benign":
        detail = f"still {placement.kind}, says the judge: {placement.reason}"
        return _lost(offer, Why.OTHER_KIND, detail)
    return None
