"""Before and after, word by word: one prompt in two tryouts, and what both came to."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.cards import Section, heading, plain, sections
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.tryout.comparison import (
    Balance,
    ChangedText,
    ChangedValue,
    PromptComparison,
    balance,
)
from aidsafe_dagster.tryout.results import PromptOutcome
from aidsafe_dagster.tryout.word_diff import Piece, diff_words

NOTHING_CHANGED = "none in intents, thoughts, verdicts, response, scores or pair"
_CONTEXT_WORDS = 8
"""Shown of a long passage that is the same, on either side of a change."""


def change_card(
    comparison: PromptComparison, place: str, settings: Settings
) -> RenderableType:
    """Return what differs on one prompt; removed words as [-…-], added ones as {+…+}."""
    parts = sections(_sections(comparison, settings))
    return Group(heading(comparison.after, place), parts, Text())


def balance_table(
    pairs: Sequence[tuple[PromptOutcome, PromptOutcome]],
) -> RenderableType:
    """Return the figures of both tryouts side by side."""
    count = len(pairs)
    title = Text(f"Before and after, {count} prompts in both", style="bold")
    table = Table.grid(padding=(0, 2))
    table.add_column()
    for _ in range(2):
        table.add_column(justify="right")
    table.add_column()
    for figure in balance(pairs):
        table.add_row(
            figure.name, _number(figure.before), _number(figure.after), _word(figure)
        )
    note = Text("Few prompts: a difference of this size may be chance.", style="dim")
    return Group(Rule(title, align="left", style="cyan"), table, note)


def _sections(comparison: PromptComparison, settings: Settings) -> Iterator[Section]:
    yield "Prompt", plain(comparison.after.prompt.prompt)
    if comparison.is_same:
        yield "Changes", Text(NOTHING_CHANGED, style="dim")
        return
    for changed in comparison.texts:
        yield "", Text(changed.title, style="bold cyan")
        yield "", word_by_word(changed)
    for value in comparison.values:
        masked = replace(value, reason=mask_secrets(value.reason, settings))
        yield "", value_line(masked)


def word_by_word(changed: ChangedText) -> Text:
    """Return a changed text with its removed and added words marked."""
    if not changed.before:
        return Text("new: ", style="green").append_text(plain(changed.after))
    if not changed.after:
        return Text("gone: ", style="red").append_text(plain(changed.before))
    text = Text()
    pieces = diff_words(changed.before, changed.after)
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        text.append_text(piece_text(piece, is_first=index == 0, is_last=is_last))
    return text


def piece_text(piece: Piece, *, is_first: bool, is_last: bool) -> Text:
    """Return a piece of a text, marked; of a long piece that is the same, the ends alone."""
    body = piece.text.rstrip()
    space = piece.text[len(body) :]
    if piece.kind == "removed":
        return Text(f"[-{visible(body)}-]{space or ' '}", style="red strike")
    if piece.kind == "added":
        return Text(f"{{+{visible(body)}+}}{space}", style="green")
    return Text(_shortened(visible(piece.text), is_first=is_first, is_last=is_last))


def _shortened(text: str, *, is_first: bool, is_last: bool) -> str:
    """Return a passage without its middle, if it is long; of the ends only the near part."""
    words = text.split()
    head = 0 if is_first else _CONTEXT_WORDS
    tail = 0 if is_last else _CONTEXT_WORDS
    left_out = len(words) - head - tail
    if left_out <= _CONTEXT_WORDS:
        return text
    kept = [*words[:head], f"(… {left_out} words …)", *words[len(words) - tail :]]
    return " ".join(kept) + ("" if is_last else " ")


def value_line(value: ChangedValue) -> Text:
    """Return a changed value, before and after, with its reason."""
    text = Text(f"{value.name}: ", style="bold cyan")
    text = Text().append_text(text)
    text.append(f"[-{visible(value.before)}-]", style="red strike")
    text.append(" ")
    text.append(f"{{+{visible(value.after)}+}}", style="green")
    if value.reason:
        text.append(" ")
        text.append_text(plain(f"· {value.reason}", "dim"))
    return text


def _number(value: float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _word(figure: Balance) -> Text:
    if figure.is_better is None:
        return Text("")
    if figure.is_better:
        return Text("better", style="green")
    return Text("worse", style="red")
