"""`aidsafe find`: which prompts and stages contain a text."""

from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained


def find(
    text: Annotated[
        list[str],
        typer.Argument(
            help="Words that must all be there; '\"a phrase\"' in quotes; or the beginning of "
            "an id. In any script; case and accents do not count."
        ),
    ],
    *,
    batch: Annotated[str | None, typer.Option(help="Only in this batch.")] = None,
    stage: Annotated[
        str | None, typer.Option(help="Only at this stage, such as refined_cots.")
    ] = None,
    limit: Annotated[
        int, typer.Option(help="Prompts to print at most; 0: all of them.", min=0)
    ] = 20,
) -> None:
    """Find a text in all rows, failures and tried beliefs; print each passage with its place."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.found_passages import print_passages
        from aidsafe_dagster.settings.load import load_settings

        settings = load_settings().settings
        query = " ".join(text)
        if not print_passages(settings, query, batch=batch, stage=stage, limit=limit):
            raise typer.Exit(1)
