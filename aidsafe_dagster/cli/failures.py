"""`aidsafe failures`: the rows that went no further, with what is wrong with each."""

from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained


def failures(
    prompt_id: Annotated[
        str,
        typer.Argument(help="Only of this prompt; its id, or as much as is unique."),
    ] = "",
    *,
    stage: Annotated[
        str | None, typer.Option(help="Only of this stage, such as refined_cots.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only for this reason, such as unparsable.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Only of this batch.")] = None,
    limit: Annotated[
        int, typer.Option(help="Rows to print at most; 0: all of them.", min=0)
    ] = 50,
) -> None:
    """List the rows that failed or were left out; `aidsafe show PROMPT_ID` prints one in full."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.failed_rows import print_failures
        from aidsafe_dagster.settings.load import load_settings

        settings = load_settings().settings
        print_failures(
            settings,
            prompt_id=prompt_id,
            stage=stage,
            reason=reason,
            batch=batch,
            limit=limit,
        )
