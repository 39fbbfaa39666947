"""The answer that a row failed on, from the journal."""

import unicodedata
from dataclasses import dataclass

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    UNANSWERED_REASONS,
    Failure,
    FailureReason,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failure_lines import mask_secrets


@dataclass(frozen=True)
class FailedAnswer:
    title: str
    about: str
    """Which call it was, and to whom; empty where there is no answer."""
    text: str
    """The answer with its invisible characters visible, or why there is none."""


def failed_answer(failure: Failure, settings: Settings) -> FailedAnswer | None:
    """Return the answer that a row failed on, as the journal holds it, or why there is none.

    Of a row that was left out it is the last answer. None if the stage asks nobody.
    """
    is_unanswered = failure.reason in UNANSWERED_REASONS
    if not failure.turn and not is_unanswered:
        return None
    title = "The answer that failed"
    if failure.reason in EXCLUSION_REASONS:
        title = "The last answer"
    if is_unanswered:
        return FailedAnswer(title, "", "The call brought no answer.")
    return _recorded_answer(title, failure, settings)


def visible(text: str) -> str:
    """Return text with every control or invisible character as an escape, such as \\x1b.

    Line breaks stay.
    """
    return "".join(_visible(character) for character in text)


def _recorded_answer(title: str, failure: Failure, settings: Settings) -> FailedAnswer:
    # Here alone: a prompt that did not fail is shown without SQLAlchemy.
    from aidsafe_dagster.engines.journal import read_answers  # noqa: PLC0415

    draw = _draw(failure)
    place = (failure.prompt_id, failure.stage, failure.turn - 1, draw)
    try:
        answers = read_answers(settings.journal, *place)
    except SetupError as error:
        return FailedAnswer(title, "", visible(mask_secrets(str(error), settings)))
    if not answers:
        return FailedAnswer(title, "", "The journal has no answer to this call.")
    answer = answers[-1]
    model = visible(answer.model)
    about = f"Call {failure.turn} of the stage, to {answer.role} ({model})"
    if draw:
        about += f", draw {draw + 1}"
    if len(answers) > 1:
        about += f"; the latest of {len(answers)} that are recorded"
    return FailedAnswer(title, about, visible(mask_secrets(answer.text, settings)))


def _draw(failure: Failure) -> int:
    """Return the draw of the last call: how many earlier runs failed the row at it or before."""
    redraws = failure.redraws
    # The last entry is this failure's own, for the next run. A defect of ours draws nothing anew.
    if failure.reason != FailureReason.INTERNAL_ERROR:
        redraws = redraws[:-1]
    return sum(1 for turn in redraws if turn <= failure.turn - 1)


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if character == "\n" or not (category.startswith("C") or category in ("Zl", "Zp")):
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
