"""The work of `aidsafe prompts wrap`: wrap harmful prompts, write the file, take it in."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_problem,
    quantity,
)
from aidsafe_dagster.cli.prompt_parents import (
    print_parents,
    read_parents,
    source_of,
    take_in,
)
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.prompt_work.wrapping import (
    Wrapping,
    gather_wrappers,
    wrap_prompts,
)
from aidsafe_dagster.recipe.templates import PROMPT_WORK
from aidsafe_dagster.recipe.wrappers import Wrapper
from aidsafe_dagster.settings.load import load_settings

_NAME, _REHEARSED_NAME = "wrapped", "rehearsed_wrapped"


@dataclass(frozen=True)
class Request:
    """What a person asked to wrap."""

    per_prompt: int
    share: float
    own: Path | None
    """A file of further wrappers."""
    only: tuple[str, ...]
    """Names or kinds of wrappers; empty: all."""
    name: str
    """Of the source; empty: by who found the prompts harmful."""


def wrap_source(request: Request) -> bool:
    """Wrap harmful prompts of the project, and take them in as a source.

    Returns:
        Whether there was a prompt to wrap.

    Raises:
        SetupError: wrappers, rows or evaluation sets cannot be read, or an option names nothing
            that there is.
    """
    settings = load_settings().settings
    wrappers = gather_wrappers(request.own, request.only, settings.prompts)
    source = source_of(request.name or _NAME)
    lock = LockFile(
        settings.home / PROMPT_WORK / "wrap.lock", "the file of wrapped prompts"
    )
    # Two at once would each write the file without the rows of the other.
    with lock.hold(f"process {os.getpid()}", print_paragraph):
        parents = read_parents(settings, settings.load_policies())
        print_parents(parents, settings)
        # What a rehearsal took for harmful must not stand among what a model did.
        if parents.simulated and not request.name:
            source = source_of(_REHEARSED_NAME)
        wrapping = wrap_prompts(
            parents.eligible,
            wrappers,
            per_prompt=request.per_prompt,
            share=request.share,
            seed=settings.seed,
        )
        if not wrapping.rows:
            _explain_nothing(wrapping, len(parents.eligible), request.share)
            return False
        _print_wrapping(wrapping, len(parents.eligible))
        return take_in(source, list(wrapping.rows))


def list_wrappers(own: Path | None) -> None:
    """Print the wrappers that there are.

    Raises:
        SetupError: the file cannot be read, or a wrapper is none.
    """
    settings = load_settings().settings
    table = Table(title="Jailbreak wrappers for training", title_justify="left")
    for column in ("kind", "name", "what it does"):
        table.add_column(column, overflow="fold")
    for wrapper in gather_wrappers(own, (), settings.prompts):
        table.add_row(*_cells(wrapper))
    console.print(table, highlight=False)


def _cells(wrapper: Wrapper) -> tuple[Text, ...]:
    return tuple(map(Text, (wrapper.kind, wrapper.name, wrapper.about)))


def _explain_nothing(wrapping: Wrapping, eligible: int, share: float) -> None:
    """Say why nothing is wrapped."""
    why = "there is no prompt to wrap; the counts above say why"
    if wrapping.parents:
        why = "these wrappers leave every prompt as it is: its script has none of their letters"
    elif eligible:
        prompts = quantity(eligible, "prompt")
        why = f"the share of {share:g} takes none of {prompts}; --share takes another"
    print_problem("Error", why)


def _print_wrapping(wrapping: Wrapping, eligible: int) -> None:
    print_paragraph(
        f"{wrapping.parents:,} of {quantity(eligible, 'prompt')} wrapped, in "
        f"{quantity(len(wrapping.rows), 'wrapper')}. No model is asked."
    )
    kinds = [f"{kind} {count}" for kind, count in wrapping.by_kind.items()]
    print_paragraph(f"By kind of attack: {', '.join(kinds)}", 2)
