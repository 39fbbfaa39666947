"""`aidsafe forget`: a batch, or all batches of a source, taken back."""

from typing import Annotated

import typer

from aidsafe_dagster.cli.console import print_plain, setup_errors_explained


def forget(
    name: Annotated[
        str, typer.Argument(help="A batch, or a source: all of its batches.")
    ],
    *,
    answers: Annotated[
        bool,
        typer.Option(
            "--answers", help="Its answers in the journal too, which may have cost."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a batch or a source: rows, failures, partitions and runs; shows them first, and asks.

    Its prompts may be ingested again. A command that was cut off is finished by starting it again.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.forgotten_batches import (
            batches_of,
            forget_batches,
            held,
            print_holdings,
            rebuild_reports,
        )
        from aidsafe_dagster.cli.local_runs import open_instance
        from aidsafe_dagster.lake.lake import Lake
        from aidsafe_dagster.settings.load import load_settings

        settings = load_settings().settings
        with open_instance() as instance:
            lake = Lake(settings.lake)
            batches = batches_of(instance, lake, name)
            print_holdings(instance, lake, settings, batches, answers=answers)
            if not yes and not typer.confirm("Remove all of this?"):
                print_plain("Nothing was removed.")
                raise typer.Exit(1)
            with held(instance, settings, batches):
                forget_batches(instance, lake, settings, name, batches, answers=answers)
            print_plain(f"Forgotten: {', '.join(batches) or name}")
            if not rebuild_reports(instance):
                raise typer.Exit(1)
