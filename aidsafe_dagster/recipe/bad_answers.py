"""Which field of an answer is held against which predicate, before the answer is accepted.

The reason goes back to the model, which is asked again. Short fields (comments, reasons, intents)
may be terse. Answers of the target have no fields: see `recipe/beliefs.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aidsafe_dagster.recipe.agent_talk import agent_talk
from aidsafe_dagster.recipe.answers import Answer, NotAnAnswer
from aidsafe_dagster.recipe.bad_text import (
    BadTextSettings,
    announcement,
    bare_identifier,
    cut,
    echo,
    pasted,
    placeholder,
    repeats_prompt,
    rule_mention,
    says_nothing,
    short_placeholder,
)
from aidsafe_dagster.recipe.cut_text import breaks_off
from aidsafe_dagster.recipe.debris import debris
from aidsafe_dagster.recipe.filler import filler
from aidsafe_dagster.recipe.language_names import PROMPTS_LANGUAGE
from aidsafe_dagster.recipe.languages import (
    ENGLISH,
    LanguageOf,
    not_in_language,
    other_language,
)
from aidsafe_dagster.recipe.loops import loop, repeated_texts
from aidsafe_dagster.recipe.records import FailureReason, Role
from aidsafe_dagster.recipe.stand_ins import no_thought, stand_in

Predicate = Callable[[str, str], str | None]
"""Takes a text and the user's prompt, and says what is wrong with the text."""

_SHORT = ("comment", "reason", "intent")
_THOUGHTS = ("thought", "thoughts", "belief")
# With less room than this, every text would be cut, so a person wants a trial and no data.
_LEAST_BOUND = 100


class BadText(NotAnAnswer):
    """The answer has the right shape, and one of its texts is worthless."""

    def __init__(
        self, message: str, reason: FailureReason = FailureReason.BAD_TEXT
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """Of the row's failure, if the text stays as it is."""


class _Text(NamedTuple):
    field: str
    name: str
    """For messages: 'thought 2'."""
    text: str
    bound: int
    """Most characters."""


@dataclass(frozen=True)
class AnswerCheck:
    """Holds the answers of one role on one prompt against the predicates."""

    settings: BadTextSettings
    role: Role
    prompt: str
    policy_ids: tuple[str, ...]
    wording: frozenset[tuple[str, ...]]
    """What the role is told (`Templates.wording`)."""
    policy_wording: frozenset[tuple[str, ...]] = frozenset()
    """Of the rules (`Policies.wording`)."""
    language_of: LanguageOf | None = None
    """None: nobody looks at languages."""
    asked: str = ""
    """What tells the language of the prompt (`languages.asked_text`); empty: the prompt."""

    def check(self, answer: Answer, schema: Mapping[str, Any]) -> None:
        """Check every free text of an answer.

        Raises:
            BadText: one of them is worthless. The message is for the model.
        """
        texts = []
        for text in _texts(answer.model_dump(), schema, schema, "answer", ""):
            if text.bound >= _LEAST_BOUND and not _is_unused(answer, text):
                texts.append(text)
        for text in texts:
            reason = self._describe(text)
            if reason is not None:
                raise BadText(f"'{text.name}': {reason}")
            self._check_final_text(text)
        thoughts = [text.text for text in texts if text.field in _THOUGHTS]
        reason = repeated_thoughts(thoughts, self._most_repeated)
        if reason is not None:
            raise BadText(reason)

    @property
    def _most_repeated(self) -> float:
        # The refiner is there to drop what the agents say again.
        if self.role in (Role.DELIBERATOR, Role.MODERATOR):
            return self.settings.max_repeated_deliberated
        return self.settings.max_repeated_thoughts

    def _describe(self, text: _Text) -> str | None:
        settings = self.settings
        if settings.reject_cut_text:
            reason = cut(text.text, text.bound)
            if reason is None and text.field not in _SHORT:
                reason = breaks_off(text.text)
            if reason is not None:
                return reason
        reason = describe_text(text.text, self.prompt, settings, text.field)
        if reason is not None:
            return reason
        # A comment or a reason may well be in the words of the question.
        if settings.reject_placeholders and text.field not in ("comment", "reason"):
            reason = echo(text.text, self.prompt, self.wording)
            reason = reason or pasted(text.text, self.prompt, self.policy_wording)
            if reason is not None:
                return reason
        reason = empty_text(text.text, self.prompt, settings, text.field)
        if reason is not None:
            return reason
        return wrong_language(
            text.text,
            self.asked or self.prompt,
            settings,
            text.field,
            self.language_of,
        )

    def _check_final_text(self, text: _Text) -> None:
        # Only the refiner's texts are trained on. Those before it may name the rules they discuss,
        # and each other.
        if self.role is not Role.REFINER or text.field in _SHORT:
            return
        reason = rule_ids(text.text, self.prompt, self.settings, self.policy_ids)
        if reason is not None:
            raise BadText(f"'{text.name}': {reason}")
        phrase = agent_talk(text.text, self.prompt)
        if phrase is not None:
            raise BadText(
                f"'{text.name}': it says '{phrase}', and its readers know no agents",
                FailureReason.AGENT_TALK,
            )


def describe_text(
    text: str, prompt: str, settings: BadTextSettings, field: str
) -> str | None:
    """Describe a placeholder, debris or a loop in the text of a field; None if there is none."""
    if settings.reject_placeholders:
        for predicate in _placeholders_of(field):
            reason = predicate(text, prompt)
            if reason is not None:
                return reason
    return loop(text, prompt) if settings.reject_loops else None


def _placeholders_of(field: str) -> tuple[Predicate, ...]:
    if field in _SHORT:
        return (short_placeholder,)
    if field in _THOUGHTS:
        return (placeholder, stand_in, debris, bare_identifier, no_thought)
    return (placeholder, stand_in, debris)


def empty_text(
    text: str, prompt: str, settings: BadTextSettings, field: str
) -> str | None:
    """Describe a response or a thought without content; None if it has some."""
    if not settings.reject_empty_responses:
        return None
    if field == "response":
        return says_nothing(text, prompt) or filler(text, prompt)
    if field in _THOUGHTS:
        return announcement(text, prompt) or repeats_prompt(text, prompt)
    return None


def wrong_language(
    text: str,
    prompt: str,
    settings: BadTextSettings,
    field: str,
    language_of: LanguageOf | None,
) -> str | None:
    """Describe a response or a thought in another language than is due; None if it is right."""
    if language_of is None or not settings.reject_other_language:
        return None
    also: tuple[str, ...] = ()
    if field != "response":
        # A belief is for the target alone.
        if field not in ("thought", "thoughts") or settings.thoughts_language == "any":
            return None
        also = (ENGLISH,) if settings.thoughts_language == "prompt_or_english" else ()
    if settings.language != PROMPTS_LANGUAGE:
        return not_in_language(text, prompt, settings.language, language_of, also)
    return other_language(text, prompt, language_of, also)


def rule_ids(
    text: str, prompt: str, settings: BadTextSettings, policy_ids: Sequence[str]
) -> str | None:
    """Describe a rule or policy id in text that is trained on; None if there is none."""
    if not settings.reject_rule_ids:
        return None
    return rule_mention(text, prompt, policy_ids)


def repeated_thoughts(thoughts: Sequence[str], most: float) -> str | None:
    """Describe thoughts of which more than a share (0 to 1) say what earlier ones say."""
    repeated = repeated_texts(thoughts)
    if len(repeated) <= most * len(thoughts):
        return None
    listing = ", ".join(str(index + 1) for index in repeated)
    return f"thoughts say again what earlier ones say: {listing} of {len(thoughts)}"


def _is_unused(answer: Answer, text: _Text) -> bool:
    """Tell whether nobody reads a text: all but the comment of a turn that agrees."""
    return text.field != "comment" and getattr(answer, "verdict", "") == "agree"


def _texts(
    value: Any,
    schema: Mapping[str, Any],
    root: Mapping[str, Any],
    field: str,
    number: str,
) -> Iterator[_Text]:
    """Yield the free texts of an answer: the strings that its schema bounds in length."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, schema["properties"][key], root, key, number)
    elif isinstance(value, list):
        for place, item in enumerate(value, start=1):
            yield from _texts(item, schema["items"], root, field, f" {place}")
    elif isinstance(value, str) and "maxLength" in schema:
        yield _Text(field, f"{field}{number}", value, schema["maxLength"])
