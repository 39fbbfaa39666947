"""Prompts grown where a dataset is thin: a writer writes them, and a judge who is not told what
they were written for places them.

Both go through the same engine, journal, limits and checks as the stages. The templates are in
`prompts/prompt_work/`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from aidsafe_dagster.recipe.answers import (
    Answer,
    AnswerBounds,
    AnswerFormat,
    ShortText,
    ThoughtText,
)
from aidsafe_dagster.recipe.bad_answers import BadText
from aidsafe_dagster.recipe.bad_text import (
    ACCEPT_ALL,
    announcement,
    cut,
    echo,
    pasted,
    placeholder,
    rule_mention,
)
from aidsafe_dagster.recipe.debris import debris
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueContext
from aidsafe_dagster.recipe.filler import filler
from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES
from aidsafe_dagster.recipe.loops import grams, loop, tokens
from aidsafe_dagster.recipe.passages import Block, Passages, fold
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.prompt_varieties import Variety
from aidsafe_dagster.recipe.records import Message, Prompt, PromptKind, Record, Role
from aidsafe_dagster.recipe.refusals import is_bare_refusal, refuses
from aidsafe_dagster.recipe.stand_ins import no_thought, stand_in
from aidsafe_dagster.recipe.templates import PROMPT_WORK, Templates

MOST_AT_ONCE = 4
"""Prompts that are asked for in one call."""
MOST_PLACES = 3
"""Rules, or categories, that a judge may name for one prompt."""
_TEMPLATES = tuple(
    f"{PROMPT_WORK}/{name}" for name in ("system", "grow", "place", "twin")
)
_QUESTION = re.compile(r"[^.!?。！？؟\n]*[?？؟]")
_OFFER = re.compile(
    r"\b(?:would you (?:like|prefer)|do you want|how about|what about|shall i|should i|may i"
    r"|can i (?:help|assist|offer|suggest|write)|could i|is there (?:any|some)|instead"
    r"|möchte(?:n|st)|soll ich|kann ich|voulez-vous|veux-tu|puis-je|quieres|quiere|puedo)\b",
    re.IGNORECASE,
)
_MOST_COPIED = 0.8
_LEAST_TOKENS = 2


class GrowthSettings(Record):
    target: Annotated[int, Field(ge=1, le=100)] = 3
    """Prompts that each rule is to have of each kind; below that it is thin."""
    most: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Prompts that one `aidsafe prompts grow` asks for at most, the thinnest places first."""
    rounds: Annotated[int, Field(ge=1, le=10)] = 3
    """How often it asks, at most, for what an earlier round has not brought."""
    language: str = ""
    """Code of the language that prompts are written in; empty: that of the rules."""
    licence: str = ""
    """Licence of the prompts; empty: `LicenseRef-generated-by-<model>`, which says who wrote
    them. Whether the terms of a model allow another one is for you to say."""
    same_words: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Cosine of TF-IDF weights from which on two prompts say the same in other words. With a
    model in `[embeddings]`, `selection.embedding_threshold` holds as well."""

    @field_validator("language")
    @classmethod
    def _is_known(cls, language: str) -> str:
        if language and language not in LANGUAGE_NAMES:
            known = ", ".join(LANGUAGE_NAMES)
            raise ValueError(f"unknown language '{language}'. Valid: {known}")
        return language

    @property
    def language_name(self) -> str:
        return LANGUAGE_NAMES.get(self.language, "")


class GrownPromptsAnswer(Answer):
    prompts: list[ThoughtText] = Field(json_schema_extra={"x-length": "prompts"})


# The words that decide come first, then why, then the verdicts: a verdict that was settled first
# would only be explained.
class PlacedPromptAnswer(Answer):
    quote: ShortText
    reason: ShortText
    kind: PromptKind
    subjects: list[
        Annotated[str, Field(json_schema_extra={"x-choices": "subjects"})]
    ] = Field(max_length=MOST_PLACES)


@dataclass(frozen=True)
class Wanted:
    """What some new prompts are to be."""

    name: str
    """A rule id, or a category."""
    text: str
    """Of the rule; of a category, its name."""
    is_rule: bool
    kind: PromptKind


@dataclass(frozen=True)
class GrowInputs:
    prompt: Prompt
    policies: Policies
    wanted: Wanted
    varieties: tuple[Variety, ...]
    number: int
    """Of the first prompt, from 1, among all that were ever asked for here."""


@dataclass(frozen=True)
class PlaceInputs:
    prompt: Prompt
    policies: Policies
    subjects: Mapping[str, str]
    """What there is to choose from: name → text."""


@dataclass(frozen=True)
class Placement:
    """What a judge finds of a prompt."""

    kind: PromptKind
    subjects: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class WriterContext(DialogueContext):
    """What the dialogues about new prompts share; their system message has their forms."""

    language: str = ""
    """Name of the language to write in; empty: that of the rules."""

    @cached_property
    def writer_system(self) -> Message:
        text = self.templates.task(
            PROMPT_WORK, "system", policies=self.policies.policies
        )
        return Message(role="system", content=text)

    def system_for(self, role: Role) -> Message:  # noqa: ARG002 - the judge reads it too
        return self.writer_system


def writer_context(
    context: DialogueContext, templates: Templates, policies: Policies, language: str
) -> WriterContext:
    """Return a context as for the stages, with the templates for new prompts."""
    values: dict[str, Any] = {
        one.name: getattr(context, one.name) for one in fields(DialogueContext)
    }
    # Each prompt is looked at for itself (`describe_flaw`): one bad one spoils no others.
    changes = {
        "templates": templates,
        "policies": policies,
        "bad_text": ACCEPT_ALL,
        "language_of": None,
    }
    return WriterContext(**(values | changes), language=language)


def load_writer_templates(folder: Path) -> Templates:
    """Load the templates for new prompts.

    Raises:
        SetupError: a template is missing or is not valid Jinja.
    """
    return Templates(folder, {PROMPT_WORK: _TEMPLATES})


def grow_conversation(
    context: WriterContext, wanted: Wanted, number: int, draw: int
) -> Conversation:
    """Return the conversation in which prompts are written.

    Args:
        context: of the writer.
        wanted: what they are to be.
        number: of the first one, as in `GrowInputs`.
        draw: another one draws other prompts.
    """
    # Not the text of the rule: a prompt that only copies it is to be noticed.
    about = f"{wanted.kind} prompts for {wanted.name}, from number {number} on"
    return writer_conversation(context, about, (0,) * draw)


def place_conversation(context: WriterContext, text: str, draw: int) -> Conversation:
    """Return the conversation in which one prompt is placed."""
    return writer_conversation(context, text, (0,) * draw)


def writer_conversation(
    context: WriterContext, text: str, redraws: tuple[int, ...] = ()
) -> Conversation:
    """Return a conversation about a text that is no prompt of the dataset yet."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8)
    prompt = Prompt(
        prompt_id=digest.hexdigest(),
        batch=PROMPT_WORK,
        source=PROMPT_WORK,
        source_row="",
        category="",
        licence="",
        prompt=text,
    )
    return Conversation(context, PROMPT_WORK, prompt, redraws=redraws)


def grow_prompts(
    conversation: Conversation,
    wanted: Wanted,
    varieties: tuple[Variety, ...],
    earlier: Sequence[str],
    number: int,
) -> Dialogue[tuple[str, ...]]:
    """Write a prompt for each variety.

    Args:
        conversation: of `grow_conversation`.
        wanted: what the prompts are to be.
        varieties: one for each prompt.
        earlier: prompts that there are, which these have to differ from.
        number: of the first one.

    Raises:
        RowFailed: no answer was valid, or none had a single prompt that can be used.
    """
    context = conversation.context
    assert isinstance(context, WriterContext)
    task = context.templates.task(
        PROMPT_WORK,
        "grow",
        wanted=wanted,
        varieties=varieties,
        earlier=earlier,
        language=context.language,
    )

    def has_a_prompt(answer: GrownPromptsAnswer) -> None:
        flaws = [
            describe_flaw(prompt, context.templates, context.policies, context.bounds)
            for prompt in answer.prompts
        ]
        if all(flaws):
            raise BadText(f"'prompts': {flaws[0]}")
        if len(answer.prompts) > 1 and len(set(map(fold, answer.prompts))) == 1:
            raise BadText("'prompts': all of them are the same")

    answer = yield from conversation.ask(
        Role.PROMPT_WRITER,
        task,
        AnswerFormat(GrownPromptsAnswer, {}, {"prompts": len(varieties)}),
        GrowInputs(conversation.prompt, context.policies, wanted, varieties, number),
        check=has_a_prompt,
    )
    return tuple(answer.prompts)


def place_prompt(
    conversation: Conversation, subjects: Mapping[str, str]
) -> Dialogue[Placement]:
    """Ask a judge of what kind a prompt is, and which of the subjects it falls under.

    The judge is not told what the prompt was written for, and has to quote the words that decide.

    Args:
        conversation: of `place_conversation`.
        subjects: rules, or categories: name → text.

    Raises:
        RowFailed: no answer was valid: none quoted the prompt and gave a reason of its own.
    """
    context = conversation.context
    prompt = conversation.prompt.prompt
    task = context.templates.task(
        PROMPT_WORK,
        "place",
        prompt=prompt,
        subjects=subjects,
        are_rules=set(subjects) <= set(context.policies.rule_ids),
        most=MOST_PLACES,
    )

    def is_about_the_prompt(answer: PlacedPromptAnswer) -> None:
        _require_quotation(answer, prompt)

    answer = yield from conversation.ask(
        Role.JUDGE,
        task,
        AnswerFormat(PlacedPromptAnswer, {"subjects": tuple(subjects)}, {}),
        PlaceInputs(conversation.prompt, context.policies, subjects),
        0.0,
        check=is_about_the_prompt,
    )
    return Placement(answer.kind, tuple(answer.subjects), answer.reason)


def describe_flaw(
    text: str, templates: Templates, policies: Policies, bounds: AnswerBounds
) -> str | None:
    """Say why a text is no prompt of a user; None if it may be one."""
    return (
        placeholder(text, "")
        or cut(text, bounds.thought_chars)
        or stand_in(text, "")
        or debris(text, "")
        or loop(text, "")
        or no_thought(text, "")
        or announcement(text, "")
        or filler(text, "")
        or echo(text, "", templates.wording)
        or pasted(text, "", policies.wording)
        or rule_mention(text, "", policies.ids)
    )


def is_refusal(text: str) -> bool:
    """Tell whether the writer declines where a prompt belongs.

    A user may say so too: "I can't help my daughter, what do I do?" What asks something is left to
    the judge, unless it is what assistants ask when they decline.
    """
    if not (is_bare_refusal(text) or refuses(text)):
        return False
    questions = _QUESTION.findall(text)
    return all(_OFFER.search(question) for question in questions)


def _require_quotation(answer: PlacedPromptAnswer, prompt: str) -> None:
    """Hold a judge to the prompt.

    Raises:
        BadText: the quotation is not in the prompt, or the reason is none of the judge's own.
    """
    passages = Passages([Block(prompt, "")])
    # A short prompt may be quoted as a whole, however short.
    is_whole = fold(answer.quote) == fold(prompt)
    if not is_whole and passages.place(answer.quote) is None:
        raise BadText("'quote': these words are not in the request; copy some that are")
    if len(tokens(answer.reason)) < _LEAST_TOKENS or placeholder(answer.reason, ""):
        raise BadText("'reason': it is no sentence")
    own, copied = set(grams(answer.reason)), set(grams(prompt))
    is_copy = fold(answer.reason) in fold(prompt)
    if is_copy or (own and len(own & copied) > _MOST_COPIED * len(own)):
        raise BadText("'reason': it only repeats the request; say in your own words")
