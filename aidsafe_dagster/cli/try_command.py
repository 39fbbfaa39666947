"""`aidsafe try`: the whole recipe on a few prompts, in seconds."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here, from_here_if_there


def try_prompts(
    file: Annotated[
        Path | None,
        typer.Argument(
            callback=from_here,
            help="Prompts in any shape that `aidsafe ingest` reads; without it, some of "
            "the project's own.",
        ),
    ] = None,
    *,
    count: Annotated[
        int | None,
        typer.Option("-n", help="Prompts to try at most; 5 if not given.", min=1),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="A prompt as text; may be given several times."),
    ] = None,
    prompt_column: Annotated[
        str | None, typer.Option(help="Column of FILE that holds the prompt.")
    ] = None,
    category_column: Annotated[
        str | None, typer.Option(help="Column of FILE that holds a category.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Try again when a policy, a template, a setting or FILE is saved.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OLD|last",
            callback=from_here_if_there,
            help="Show before and after, word by word. 'last', the folder of an earlier "
            "tryout, or another project's folder or one with policies.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON per prompt, then a summary.")
    ] = False,
    gates: Annotated[
        bool,
        typer.Option(help="Say what the gates would say, which takes some seconds."),
    ] = True,
) -> None:
    """Take a few prompts through the whole recipe at once, and show what becomes of each.

    The engine is the configured one. Gates are told and close nothing, Dagster is not needed, and
    the project's own data stay as they are. What was answered once is not asked again.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.tryouts import Request, run_tryouts

        request = Request(
            file=file,
            texts=tuple(prompt or ()),
            columns={"prompt": prompt_column, "category": category_column},
            count=count,
            against=against,
            with_gates=gates,
        )
        if not run_tryouts(request, watch=watch, as_json=as_json):
            raise typer.Exit(1)
