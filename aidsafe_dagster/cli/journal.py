"""`aidsafe journal compact`: the journal of answers, in less room."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    quantity,
    setup_errors_explained,
    short_count,
)

if TYPE_CHECKING:
    from aidsafe_dagster.settings.schema import Settings

app = typer.Typer(help="The journal of answers.", no_args_is_help=True)


@app.callback()
def journal() -> None:
    """The journal of answers: what was paid for, and is never asked again."""


@app.command()
def compact() -> None:
    """Pack every answer and give the room back; nothing is lost, and runs find all as before.

    It needs the journal for itself: while a run is at work, nothing is done. It may be cut off at
    any moment, and goes on where it stopped when it is started again.
    """
    with setup_errors_explained():
        from aidsafe_dagster.engines.journal_compaction import (
            compact as compact_journal,
        )
        from aidsafe_dagster.settings.load import load_settings

        settings = load_settings().settings
        _refuse_runs(settings)
        print_plain(f"Journal: {_without_password(settings.journal)}")
        with console.status("packed: none yet") as status:

            def show(done: int, total: int) -> None:
                share = done / max(1, total)
                status.update(f"packed: {short_count(done)} answers, {share:.0%}")

            outcome = compact_journal(settings.journal, show)
        share = outcome.size_after / max(1, outcome.size_before)
        print_plain(
            f"{quantity(outcome.entries, 'answer')}, of which {outcome.packed:,} packed now; "
            "all are kept"
        )
        before, after = (
            short_count(outcome.size_before),
            short_count(outcome.size_after),
        )
        print_plain(f"{before}B before, {after}B after ({share:.0%})")
        if outcome.room_due:
            print_paragraph(
                f"The file is as long as before: writing it anew takes "
                f"{short_count(outcome.room_due)}B of free disk for a moment. Until then new "
                "answers go into the room inside it. Make room, then start again."
            )
            raise typer.Exit(1)


def _refuse_runs(settings: "Settings") -> None:
    """Raise SetupError if a run works in this project; it may open the journal at any moment."""
    from aidsafe_dagster.primitives.lock_file import LockFile
    from aidsafe_dagster.recipe.errors import SetupError

    folder: Path = settings.home / "locks"
    for file in sorted(folder.rglob("*.lock")):
        holder = LockFile(file).holder()
        if holder is not None:
            raise SetupError(
                f"the journal is in use by {holder} ({file.stem}). Nothing was changed; try again "
                "once that is over"
            )


def _without_password(url: str) -> str:
    import sqlalchemy as sa

    return repr(sa.make_url(url))
