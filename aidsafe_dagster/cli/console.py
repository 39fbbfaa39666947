"""What every command prints with: the console, errors without a traceback, counts with their noun.

Every command imports this module, so it imports nothing that takes long to load.
"""

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import IO, Any, cast

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from aidsafe_dagster.primitives.stop_signals import (
    WHAT_IS_SAFE,
    leave,
    received,
    stop_signals,
)

_MOST_NAMES = 3
"""Named one by one in a listing."""
_WORD = re.compile(r"(\s*)(\S+)")
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_OPENING, _CLOSING = "“‘「（《", "、。，？！：；…”’」）》"
_SIGNS = re.compile(
    f"[{_OPENING}]*[{_IDEOGRAPH}][{_CLOSING}]*|[^{_IDEOGRAPH}{_OPENING}]+|[{_OPENING}]+"
)
"""Between which a line may be broken where there are no spaces; punctuation stays with its sign."""
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""As in `recipe/foreign_text.py`, which is not imported: nothing of the recipe is, for `--help`."""


class _Shown:
    """A stream for people, without the characters that reorder the text around them."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        # A lone surrogate cannot be written, and must not end a command.
        encodable = text.encode("utf-8", "replace").decode()
        return self._stream.write(_BIDI_CONTROLS.sub("", encodable))


class _Console(Console):
    """Rows, prompts and what servers say are shown through it."""

    @property
    def file(self) -> IO[str]:
        return cast("IO[str]", _Shown(super().file))

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


def make_console(file: IO[str] | None = None) -> Console:
    """Return a console that prints to a file, or to what is stdout at the moment of printing."""
    return _Console(file=file)


console = make_console()
REHEARSAL = (
    "[bold yellow]REHEARSAL[/] · every answer was simulated by rule, none came from a model; "
    "not for training"
)


@contextmanager
def setup_errors_explained(
    *, has_own_handlers: bool = False, needs_project: bool = True
) -> Iterator[None]:
    """Turn a person's mistake into a message and exit code 2, without a traceback.

    Ctrl-C and SIGTERM end the command with a word on what is safe, and exit code 130 or 143.

    Args:
        has_own_handlers: the command looks after signals itself.
        needs_project: the command works in the folder of its project.
    """
    # Here and not above: the recipe takes long to import, and `--help` needs none of it.
    from aidsafe_dagster.cli.project_folder import in_project
    from aidsafe_dagster.recipe.errors import SetupError, StoreUnavailable

    try:
        with (
            nullcontext() if has_own_handlers else stop_signals(),
            in_project() if needs_project else nullcontext(),
        ):
            yield
    except (SetupError, StoreUnavailable) as error:
        print_problem("Error", str(error))
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        number = received() or signal.SIGINT
        print_paragraph(f"Stopped by {number.name}. {WHAT_IS_SAFE}")
        if received():
            leave(number)
        raise typer.Exit(128 + number) from error
    except Exception as error:
        from aidsafe_dagster.primitives.disk_trouble import disk_trouble

        trouble = disk_trouble(error)
        if trouble is None:
            raise
        print_problem("Error", f"the disk is full or fails: {trouble}")
        print_paragraph(
            "What was answered is recorded, and what was finished is whole."
        )
        print_plain("Make room, then start the same command again.")
        # A traceback of hundreds of lines would bury the one that counts.
        raise typer.Exit(2) from None


def print_problem(what: str, why: str) -> None:
    """Print what went wrong and why, on a terminal broken between words."""
    first, *others = why.split("\n")
    lines = [f"{what} {first}", *others]
    if is_width_known():
        lines = [_filled(line) for line in lines]
    text = "\n".join(lines)
    heading, rest = text[: len(what)], text[len(what) :]
    console.print(
        f"[bold red]{escape(heading)}[/]{escape(rest)}",
        highlight=False,
        soft_wrap=True,
    )


def _filled(line: str, hanging: int = 0) -> str:
    """Break a line between words, and indent what follows like its beginning or further.

    Commands, paths and keys are to be copied whole, so no word is broken. Chinese and the like are
    broken between signs, each of which takes two columns.
    """
    text = line.lstrip()
    indent = len(line) - len(text)
    # A line as wide as the terminal would be broken once more by some of them.
    width = max(40, console.width - 1)
    lines: list[str] = []
    current = " " * indent
    for space, piece in _pieces(text):
        if current.strip() and cell_len(current + space + piece) > width:
            lines.append(current)
            current = " " * (indent + hanging) + piece
        else:
            current += space + piece
    return "\n".join([*lines, current])


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield what a line is broken between, each with the spaces before it."""
    for space, word in _WORD.findall(text):
        signs = _SIGNS.findall(word) if cell_len(word) != len(word) else [word]
        yield " " * len(space), signs[0]
        for sign in signs[1:]:
            yield "", sign


def print_plain(text: object) -> None:
    """Print text that is not ours as it is: no markup, no highlighting, no line breaks added."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_paragraph(text: str, indent: int = 0) -> None:
    """Print text that is not ours, on a terminal broken between words with a hanging indent of two.

    Args:
        text: one paragraph.
        indent: of its first line, in columns.
    """
    if not is_width_known():
        # What is written to a file is to be searched.
        print_plain(" " * indent + text)
        return
    print_plain(_filled(" " * indent + text, hanging=2))


def cut(text: str, most: int) -> str:
    """Return a text on one line, of a long one the beginning, which ends with a whole word.

    Args:
        text: of any length.
        most: characters.
    """
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    beginning = line[:most]
    words, space, _ = beginning.rpartition(" ")
    # Scripts without spaces, and one long word, are cut where they are.
    kept = words if space and len(words) > most // 2 else beginning[:-1]
    return f"{kept.rstrip()} …" if space else f"{kept}…"


def is_width_known() -> bool:
    """Tell whether lines are to be broken: there is a terminal, or somebody gives its width."""
    return console.is_terminal or "COLUMNS" in os.environ


def quantity(count: int, noun: str) -> str:
    """Return a count with its noun: '1 batch', '2 batches', '1,200 rows'."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{count:,} {plural}"


def short_count(count: float) -> str:
    """Return a count in at most five characters: 950, 12.3k, 4.5M, 1.2G."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return f"{count:.0f}"


def listing(names: Sequence[str]) -> str:
    """Return names one by one, of many the first and the last."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names):,})"
