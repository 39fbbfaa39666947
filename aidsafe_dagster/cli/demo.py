"""`aidsafe demo`: the bundled prompts in a project of their own, apart from real work."""

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    setup_errors_explained,
)
from aidsafe_dagster.cli.project_folder import from_here, in_folder, program, shown

DEMO_FOLDER = Path("data", "demo")
"""In the project's folder."""
_OF_REAL_WORK = (
    "AIDSAFE_SETTINGS",
    "AIDSAFE_HOME",
    "AIDSAFE_LAKE_URL",
    "AIDSAFE_JOURNAL_URL",
)
"""Variables that would lead the demo into somebody's data."""
_SETTINGS = b"""\
# The settings of the demo, which is a project of its own: nothing of it mixes with your data.
engine = "rehearsal"
"""


def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="The demo's own project folder; else data/demo.", callback=from_here
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(help="Prompts per bundled source; 0: all of them.", min=0)
    ] = 0,
    source: Annotated[
        str | None, typer.Option(help="Only this bundled source, such as catqa.")
    ] = None,
) -> None:
    """Take the bundled prompts through the whole recipe, in a project of their own.

    The settings of FOLDER are used if it has any. Otherwise the rehearsal engine answers.
    """
    with setup_errors_explained(), _in_demo_folder(folder) as home:
        _make_demo(home, sample, source)


@contextmanager
def _in_demo_folder(folder: Path | None) -> Iterator[Path]:
    from aidsafe_dagster.cli.init import instance_files, write_new

    home = folder or DEMO_FOLDER.absolute()
    if folder is None:
        for name in _OF_REAL_WORK:
            os.environ.pop(name, None)
    files = {"aidsafe.toml": _SETTINGS, **instance_files()}
    for name, content in files.items():
        if not (home / name).exists():
            write_new(home, {name: content})
    with in_folder(home):
        yield home


def _make_demo(home: Path, sample: int, source: str | None) -> None:
    from aidsafe_dagster.cli.batches import (
        announce_engine,
        print_summary,
        print_unfinished,
        run_backfill,
    )
    from aidsafe_dagster.cli.ingest import bundled_sample, run_ingestion
    from aidsafe_dagster.cli.local_runs import open_instance
    from aidsafe_dagster.settings.load import load_settings

    with open_instance() as instance:
        started = time.monotonic()
        settings = load_settings().settings
        console.rule("[bold]AIDSAFE on Dagster[/]")
        announce_engine(settings)
        runs = [run_ingestion(instance, bundled_sample(sample, source))]
        runs += run_backfill(instance, settings, [])
        print_summary(instance, settings)
        console.print(f"\nDone in {time.monotonic() - started:.0f} s.")
        print_paragraph(
            f"The demo is a project of its own in {shown(home)}: "
            "your own work meets nothing of it."
        )
        in_demo = f"{program()} --project {shlex.quote(shown(home))}"
        print_plain(f"Look at it:  {in_demo} dev")
        # One failed batch must not hide the summary of the others, so the exit comes last.
        print_unfinished(settings, runs, in_demo)
        if not all(run.success for run in runs):
            raise typer.Exit(1)
