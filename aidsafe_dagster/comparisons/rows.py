"""Changed rows side by side: each text with the words that only one side has."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aidsafe_dagster.comparisons.comparison import Comparison
from aidsafe_dagster.comparisons.measures import MeasuredPrompt
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.tryout.comparison import (
    ChangedText,
    ChangedValue,
    PromptComparison,
)
from aidsafe_dagster.tryout.word_diff import Piece, diff_words

_HARMFUL = "rejected response"
_FINAL = ("response", "final thought")
_ORDER = ("response", "final thought", "thought", "intents", _HARMFUL)


@dataclass(frozen=True)
class TextSides:
    """A text on both sides, in pieces. A side without it has none."""

    title: str
    a: tuple[Piece, ...]
    """The same as on the other side, or removed."""
    b: tuple[Piece, ...]
    """The same as on the other side, or added."""

    @property
    def is_written_to_be_harmful(self) -> bool:
        return self.title == _HARMFUL

    @property
    def is_final(self) -> bool:
        """It is what the row is trained on: the response, or a final thought."""
        return self.title.startswith(_FINAL)


@dataclass(frozen=True)
class ChangedRow:
    """One prompt that came out otherwise."""

    prompt_id: str
    prompt: str
    batch: str
    """Of the first side."""
    kind: str
    """Of the prompt; empty if it is not graded."""
    changed: tuple[str, ...]
    texts: tuple[TextSides, ...]
    """The response first."""
    values: tuple[ChangedValue, ...]


def changed_rows(
    comparison: Comparison, limit: int, settings: Settings
) -> Iterator[ChangedRow]:
    """Yield the first of the changed rows.

    Args:
        comparison: what was measured.
        limit: rows at most.
        settings: name the secrets that are masked: a failure may quote a server.

    Raises:
        SetupError: a file cannot be read.
    """
    measured = {one.prompt_id: one for one in comparison.changed[:limit]}
    for detail in comparison.details(limit):
        prompt_id = detail.after.prompt.prompt_id
        yield _row(detail, measured[prompt_id], settings)


def sides_of(text: ChangedText) -> TextSides:
    """Return a text on both sides, word by word."""
    if not text.before or not text.after:
        # There is nothing to compare it with, so no word of it is marked.
        return TextSides(text.title, _whole(text.before), _whole(text.after))
    pieces = diff_words(text.before, text.after)
    return TextSides(
        title=text.title,
        a=tuple(piece for piece in pieces if piece.kind != "added"),
        b=tuple(piece for piece in pieces if piece.kind != "removed"),
    )


def _whole(text: str) -> tuple[Piece, ...]:
    return (Piece("same", text),) if text else ()


def _row(
    detail: PromptComparison, measured: MeasuredPrompt, settings: Settings
) -> ChangedRow:
    values = []
    for value in detail.values:
        reason = mask_secrets(value.reason, settings)
        values.append(replace(value, reason=reason))
    return ChangedRow(
        prompt_id=measured.prompt_id,
        prompt=detail.after.prompt.prompt,
        batch=detail.before.prompt.batch,
        kind=measured.kind or "",
        changed=measured.changed,
        texts=tuple(sides_of(text) for text in sorted(detail.texts, key=_place)),
        values=tuple(values),
    )


def _place(text: ChangedText) -> int:
    for place, start in enumerate(_ORDER):
        if text.title.startswith(start):
            return place
    return len(_ORDER)
