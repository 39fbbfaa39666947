"""`aidsafe compare` and `aidsafe versions`: what a change did, and what is kept to see it."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here


def compare(
    a: Annotated[
        str | None,
        typer.Argument(
            metavar="[A]",
            help="'before' or 'now'; the recipe or date of a version; a source or batch; "
            "'last' or a tryout; another project, or a lake. X@before is a version of X.",
        ),
    ] = None,
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="The same; 'now' if not given.")
    ] = None,
    *,
    source: Annotated[
        list[str] | None, typer.Option(help="Only batches of this source.")
    ] = None,
    batch: Annotated[list[str] | None, typer.Option(help="Only this batch.")] = None,
    rows: Annotated[
        int, typer.Option(help="Changed rows to show side by side.", min=0)
    ] = 10,
    html: Annotated[
        Path | None,
        typer.Option(
            callback=from_here,
            help="Where the page goes; comparison.html among the reports if not given.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One object of JSON, and no page without --html."),
    ] = False,
) -> None:
    """Compare two versions of the data on the same prompts: policies, models or settings.

    Without names: the batches as they were before their recipe changed, and as they are now.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.comparing import Request, run_comparison

        request = Request(
            a=a,
            b=b,
            only=(*(source or ()), *(batch or ())),
            rows=rows,
            page=html,
            as_json=as_json,
        )
        run_comparison(request)


def versions(
    *,
    prune: Annotated[
        int | None,
        typer.Option(help="Keep only so many of each batch, the latest ones.", min=0),
    ] = None,
    batch: Annotated[list[str] | None, typer.Option(help="Only this batch.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """List the earlier versions of batches that are kept, with their recipe and size."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.listed_versions import print_versions, prune_versions

        if prune is None:
            print_versions(batch or ())
        elif not prune_versions(prune, batch or (), is_agreed=yes):
            raise typer.Exit(1)
