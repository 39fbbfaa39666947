"""The writer of new prompts and the judge who places them, by rule: phrases around a rule's words.

The judge knows a kind by what a phrase begins with, and a rule by the words in common.
"""

from collections.abc import Mapping

from aidsafe_dagster.engines.rehearsal.phrasebook import begins_with, phrases
from aidsafe_dagster.engines.rehearsal.planted import Reply
from aidsafe_dagster.engines.rehearsal.reading import (
    abridge,
    looks_malicious,
    quotable,
    word_stems,
)
from aidsafe_dagster.engines.rehearsal.speaker import Speaker
from aidsafe_dagster.recipe.benign_twins import TwinInputs
from aidsafe_dagster.recipe.grown_prompts import (
    GrowInputs,
    GrownPromptsAnswer,
    PlacedPromptAnswer,
    PlaceInputs,
)
from aidsafe_dagster.recipe.records import PromptKind

_KINDS: tuple[PromptKind, ...] = ("harmful", "borderline", "benign")
_SUBJECT_CHARS = 70
_QUOTE_CHARS = 60
_LEAST_SHARED = 0.3
"""Of the words of the prompt's closest subject, for it to fall under it."""


def write_prompts(speaker: Speaker, inputs: GrowInputs | TwinInputs) -> Reply:
    """Write a prompt for each variety around the words of what is wanted, or a twin."""
    if isinstance(inputs, TwinInputs):
        return _write_twin(speaker, inputs)
    wanted = inputs.wanted
    subject = quotable(wanted.text, _SUBJECT_CHARS) or wanted.name
    lines = phrases(f"prompt_writer.{wanted.kind}")
    prompts = []
    for place, variety in enumerate(inputs.varieties):
        phrase = lines[(inputs.number - 1 + place) % len(lines)]
        text = phrase.format(
            subject=subject, persona=variety.persona, setting=variety.setting
        )
        prompts.append(text[0].upper() + text[1:])
    return Reply(GrownPromptsAnswer(prompts=prompts))


def _write_twin(speaker: Speaker, inputs: TwinInputs) -> Reply:
    """Ask something harmless about the words of the harmful prompt."""
    subject = quotable(inputs.harmful.prompt, _SUBJECT_CHARS) or "this"
    phrase = speaker.prompt_dice.pick(phrases("prompt_writer.twin"), "twin")
    return Reply(GrownPromptsAnswer(prompts=[phrase.format(subject=subject)]))


def place_by_words(speaker: Speaker, inputs: PlaceInputs) -> Reply:
    """Place a prompt by how it begins, and by the words that it shares."""
    text = inputs.prompt.prompt
    answer = PlacedPromptAnswer(
        quote=abridge(text, _QUOTE_CHARS).strip(),
        reason="By its first words and by those that it has in common.",
        kind=_kind(speaker, text),
        subjects=_closest(text, inputs.subjects),
    )
    return Reply(answer)


def _kind(speaker: Speaker, text: str) -> PromptKind:
    for kind in _KINDS:
        if begins_with(text, f"prompt_writer.{kind}"):
            return kind
    if begins_with(text, "prompt_writer.twin"):
        return "benign"
    malicious = looks_malicious(speaker.prompt, speaker.policies)
    return "harmful" if malicious else "benign"


def _closest(text: str, subjects: Mapping[str, str]) -> list[str]:
    stems = word_stems(text)
    shares = {}
    for name, subject in subjects.items():
        words = word_stems(quotable(subject, _SUBJECT_CHARS) or name)
        shares[name] = len(words & stems) / len(words) if words else 0.0
    best = max(shares, key=lambda name: shares[name], default="")
    return [best] if best and shares[best] >= _LEAST_SHARED else []
