"""What every command prints with: the console, errors without a traceback, counts with their noun.

Every command imports this module, so it imports nothing that takes long to load.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

console = Console()
REHEARSAL = (
    "[bold yellow]REHEARSAL[/] · every answer was simulated by rule, none came from a model; "
    "not for training"
)


@contextmanager
def setup_errors_explained() -> Iterator[None]:
    """Turn a person's mistake into a message and exit code 2, without a traceback.

    An interrupt ends the command with a word on what is safe, and exit code 130.
    """
    # Here and not above: the recipe takes long to import, and `--help` needs none of it.
    from aidsafe_dagster.recipe.errors import SetupError

    try:
        yield
    except SetupError as error:
        print_problem("Error", str(error))
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        print_plain(
            "Stopped. What was answered is recorded; the same command goes on from there."
        )
        raise typer.Exit(130) from error


def print_problem(what: str, why: str) -> None:
    console.print(f"[bold red]{what}[/] {escape(why)}", highlight=False, soft_wrap=True)


def print_plain(text: object) -> None:
    """Print text that is not ours as it is: no markup, no highlighting, no line breaks added."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


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
