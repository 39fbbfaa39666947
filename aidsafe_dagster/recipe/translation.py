"""Translations: a row of the training data in another language, its reasoning translated too.

A translation belongs to the row that it was made from: the same cluster, and so the same split.
Rows of the train split alone are translated, so that none is ever evaluated on. One dialogue
translates one prompt into one language: its turns, thoughts and response in one call, and the
rejected side of its pair, if it has one, in another.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from aidsafe_dagster.recipe.answers import Answer, AnswerFormat
from aidsafe_dagster.recipe.bad_answers import BadText
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueContext
from aidsafe_dagster.recipe.fine_tune_splits import join_thinking, question_of
from aidsafe_dagster.recipe.format_types import CLOSE, OPEN, split_thinking
from aidsafe_dagster.recipe.held_out import prompt_of
from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES
from aidsafe_dagster.recipe.languages import not_in_language, told_language
from aidsafe_dagster.recipe.loops import loop
from aidsafe_dagster.recipe.markdown import block_quote
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    FineTuneRow,
    Message,
    Origin,
    Prompt,
    PromptKind,
    Provenance,
    Role,
    Row,
    Usage,
)
from aidsafe_dagster.recipe.refusals import refuses
from aidsafe_dagster.recipe.templates import TRANSLATIONS, Templates

_TEMPLATES = (f"{TRANSLATIONS}/system", f"{TRANSLATIONS}/translator")
_PARAGRAPH = "\n\n"
# Of a translation, in tokens, relative to its original. Estimates are by script.
_SHORTEST, _LONGEST = 0.4, 2.5
_LEAST_TOKENS = 25
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class TranslatedRow(Row):
    """A row of the training data in another language. Table `translations_<language>`."""

    language: str = Field(description="code of the language")
    translated_from: str = Field(description="prompt_id of the original")
    original: str = Field(description="hash of the original's texts")
    prompt_kind: PromptKind
    thinking: str = Field(description="the chain of thought")
    response: str
    rejected_cot: str = Field(description="of the pair; empty if there is none")
    rejected_response: str = Field(description="of the pair; empty if there is none")


class TranslatorAnswer(Answer):
    turns: list[_Text] = Field(json_schema_extra={"x-length": "turns"})
    thoughts: list[_Text] = Field(json_schema_extra={"x-length": "thoughts"})
    response: _Text


@dataclass(frozen=True)
class Original:
    """What is translated: the rows of one prompt."""

    sft: FineTuneRow
    dpo: FineTuneRow | None = None
    """Its pair, if it has one whose chosen side is the answer of `sft`."""

    @property
    def turns(self) -> tuple[Message, ...]:
        return question_of(self.sft)

    @property
    def content(self) -> str:
        """A hash of all texts."""
        texts = [turn.content for turn in self.turns]
        texts += [self.sft.thinking, self.sft.response, *self.rejected]
        joined = "\0".join(texts)
        return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()

    @property
    def rejected(self) -> tuple[str, ...]:
        """Thoughts and response of the rejected side; empty if there is none."""
        if self.dpo is None or not self.dpo.rejected:
            return ()
        return split_thinking(self.dpo.rejected[-1].content)


@dataclass(frozen=True)
class TranslatorInputs:
    prompt: Prompt
    policies: Policies
    language: str
    turns: tuple[Message, ...]
    thoughts: tuple[str, ...]
    response: str


@dataclass(frozen=True)
class TranslatorContext(DialogueContext):
    """What the dialogues of the translator share; its system message holds no policies."""

    @cached_property
    def translator_system(self) -> Message:
        text = self.templates.task(TRANSLATIONS, "system")
        return Message(role="system", content=text)

    def system_for(self, role: Role) -> Message:  # noqa: ARG002 - it has the one role
        return self.translator_system


def translator_context(context: DialogueContext, folder: Path) -> TranslatorContext:
    """Return a context as for the stages, with the templates of the translator.

    Raises:
        SetupError: a template is missing or is not valid Jinja.
    """
    values: dict[str, Any] = {
        one.name: getattr(context, one.name) for one in fields(DialogueContext)
    }
    changes = {
        "templates": Templates(folder, {TRANSLATIONS: _TEMPLATES}),
        # A translation may be as bad as its original. What it must be is checked here.
        "bad_text": ACCEPT_ALL.model_copy(update={"reject_loops": True}),
    }
    return TranslatorContext(**(values | changes))


def is_in_language(original: Original, context: DialogueContext, language: str) -> bool:
    """Tell whether a row is in the language already."""
    if context.language_of is None:
        return False
    text = f"{original.turns[-1].content}\n{original.sft.response}"
    return told_language(text, context.language_of) == language


def translate(
    conversation: Conversation, original: Original, language: str
) -> Dialogue[TranslatedRow]:
    """Translate the rows of one prompt. The id of the row is that of its original.

    Raises:
        RowFailed: every attempt at a part was invalid, or refused to translate it.
    """
    sft = original.sft
    answer = yield from _translate(
        conversation, language, original.turns, sft.thinking, sft.response
    )
    rejected_cot = rejected_response = ""
    if original.rejected:
        cot, response = original.rejected
        rejected = yield from _translate(conversation, language, (), cot, response)
        rejected_cot = _PARAGRAPH.join(rejected.thoughts)
        rejected_response = rejected.response
    *earlier, prompt = answer.turns
    roles = [turn.role for turn in original.turns]
    turns = zip(roles, earlier, strict=False)
    values = {
        **sft.model_dump(include=set(Origin.model_fields)),
        **conversation.provenance(),
        "cluster": sft.cluster or sft.prompt_id,
        "recipe": sft.recipe,
        # Of the reasoning. The translator sees no policies.
        "policies_version": sft.policies_version,
        "mixed_with": sft.mixed_with,
        # Made up in part is made up.
        "simulated": conversation.context.simulated or sft.simulated,
    }
    return TranslatedRow(
        **values,
        prompt=prompt,
        earlier=tuple(Message(role=role, content=text) for role, text in turns),
        language=language,
        translated_from=sft.prompt_id,
        original=original.content,
        prompt_kind=sft.prompt_kind,
        thinking=_PARAGRAPH.join(answer.thoughts),
        response=answer.response,
        rejected_cot=rejected_cot,
        rejected_response=rejected_response,
    )


def translated_conversation(
    context: TranslatorContext, original: Original, redraws: tuple[int, ...]
) -> Conversation:
    """Return the conversation of a dialogue of `translate`."""
    return Conversation(context, TRANSLATIONS, prompt_of(original.sft), redraws)


def fine_tune_rows(row: TranslatedRow) -> tuple[FineTuneRow, ...]:
    """Return the training rows of a translation: one for SFT, and one for DPO if it has a pair."""
    lineage = row.model_dump(
        include={*Origin.model_fields, *Provenance.model_fields}
        - {"usage", "reasoning"}
    )
    lineage |= {"usage": Usage(), "reasoning": (), "redraws": (), "repaired": ()}
    common = {
        **lineage,
        "split": "train",
        "prompt_kind": row.prompt_kind,
        "thinking": row.thinking,
        "response": row.response,
    }
    none = dict.fromkeys(("messages", "prompt", "chosen", "rejected"))
    answer = _assistant(row.thinking, row.response)
    messages = (*row.prompt_turns, answer)
    sft = {**common, **none, "kind": "sft", "messages": messages}
    if not row.rejected_response:
        return (FineTuneRow.model_validate(sft),)
    rejected = (_assistant(row.rejected_cot, row.rejected_response),)
    sides = {"prompt": row.prompt_turns, "chosen": (answer,), "rejected": rejected}
    dpo = {**common, **none, "kind": "dpo", **sides}
    return FineTuneRow.model_validate(sft), FineTuneRow.model_validate(dpo)


def translated_transcript(row: TranslatedRow) -> str:
    """Return a translation as Markdown: its turns, chain of thought and response."""
    parts = []
    for turn in row.earlier:
        parts += [f"### Turn of the {turn.role}", block_quote(turn.content)]
    parts += [
        "### Prompt",
        block_quote(row.prompt),
        "### Chain of thought",
        block_quote(row.thinking),
        "### Response",
        block_quote(row.response),
    ]
    if row.rejected_response:
        rejected = f"{row.rejected_cot}\n\n→ {row.rejected_response}"
        parts += ["### Rejected side of its pair", block_quote(rejected)]
    return _PARAGRAPH.join(parts)


def originals(rows: Sequence[FineTuneRow]) -> list[Original]:
    """Return what can be translated of the rows of a batch: those of the train split."""
    pairs = {row.prompt_id: row for row in rows if row.kind == "dpo"}
    translatable = []
    for row in rows:
        if row.kind != "sft" or row.split != "train":
            continue
        pair = pairs.get(row.prompt_id)
        if pair and (pair.thinking, pair.response) != (row.thinking, row.response):
            # Its chosen side is another answer, which nobody translates.
            pair = None
        translatable.append(Original(row, pair))
    return translatable


def _translate(
    conversation: Conversation,
    language: str,
    turns: tuple[Message, ...],
    thinking: str,
    response: str,
) -> Dialogue[TranslatorAnswer]:
    context = conversation.context
    thoughts = tuple(part for part in thinking.split(_PARAGRAPH) if part.strip())
    task = context.templates.task(
        TRANSLATIONS,
        Role.TRANSLATOR,
        language=LANGUAGE_NAMES[language],
        turns=turns,
        thoughts=thoughts,
        response=response,
    )
    counts = {"turns": len(turns), "thoughts": len(thoughts)}
    inputs = TranslatorInputs(
        conversation.prompt, context.policies, language, turns, thoughts, response
    )
    texts = [*(turn.content for turn in turns), *thoughts, response]
    # Each part stands alone, so that a bad answer does not colour the good one.
    conversation.messages = ()
    return (
        yield from conversation.ask(
            Role.TRANSLATOR,
            task,
            AnswerFormat(TranslatorAnswer, {}, counts),
            inputs,
            check=lambda answer: _check(context, language, texts, answer),
        )
    )


def _check(
    context: DialogueContext,
    language: str,
    originals_: Sequence[str],
    answer: TranslatorAnswer,
) -> None:
    """Raise BadText if a translation is in another language, of another length, or no such."""
    texts = [*answer.turns, *answer.thoughts, answer.response]
    names = [f"turn {n}" for n in range(1, len(answer.turns) + 1)]
    names += [f"thought {n}" for n in range(1, len(answer.thoughts) + 1)]
    names.append("response")
    for name, text, original in zip(names, texts, originals_, strict=True):
        reason = _fault(context, language, text, original)
        if reason is not None:
            raise BadText(f"'{name}': {reason}")
    if refuses(answer.response) and not refuses(originals_[-1]):
        raise BadText("'response': it declines, and the original does not")


def _fault(
    context: DialogueContext, language: str, text: str, original: str
) -> str | None:
    """Describe what is wrong with the translation of one text; None if it may be right."""
    if (OPEN in text or CLOSE in text) and not (OPEN in original or CLOSE in original):
        return "it holds a think tag, and the original does not"
    length, due = context.count_tokens(text), context.count_tokens(original)
    if max(length, due) >= _LEAST_TOKENS:
        if length < _SHORTEST * due:
            return "it is far shorter than the original; translate all of it"
        if length > _LONGEST * due:
            return "it is far longer than the original; add nothing"
    if context.language_of is not None:
        reason = not_in_language(text, "", language, context.language_of)
        if reason is not None:
            return reason
    return loop(text, original)


def _assistant(thinking: str, response: str) -> Message:
    return Message(role="assistant", content=join_thinking(thinking, response))
