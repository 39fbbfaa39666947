"""`aidsafe prompts coverage | grow | twins | wrap`: what the prompts cover, and new ones."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here

app = typer.Typer(
    help="The prompts as a whole: what they cover, and what they lack.",
    no_args_is_help=True,
)
Target = Annotated[
    int | None,
    typer.Option(
        help="Prompts that each rule is to have of each kind; else the setting grow.target.",
        min=1,
        max=100,
    ),
]


@app.command()
def coverage(
    *,
    target: Target = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object of JSON.")
    ] = False,
) -> None:
    """Count the prompts by rule, category and kind. Nothing is asked of a model."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.prompt_coverage import show_coverage

        show_coverage(target, as_json=as_json)


@app.command()
def grow(
    *,
    target: Target = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rule", help="Only this rule, or all of this policy; may be repeated."
        ),
    ] = None,
    categories: Annotated[
        list[str] | None,
        typer.Option("--category", help="Only this category; may be repeated."),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", help="Only harmful, borderline or benign; may be repeated."
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            help="Prompts to ask for at most; else the setting grow.most.", min=1
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            help="Name of the source: lower case; 'grown', or 'rehearsed' without a model."
        ),
    ] = "",
    licence: Annotated[
        str,
        typer.Option(help="Licence of the new prompts; else the setting grow.licence."),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Begin without being asked.")
    ] = False,
) -> None:
    """Write new prompts where the dataset is thin, and take them in as a source.

    Each is varied, filtered, and placed by a judge who is not told what it was written for.

    Exit status 1: something is thin, and no prompt was taken.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.prompt_growth import Request, grow_source

        request = Request(
            target=target,
            rules=tuple(rules or ()),
            categories=tuple(categories or ()),
            kinds=tuple(kinds or ()),
            most=most,
            name=name,
            licence=licence,
            is_agreed=yes,
        )
        if not grow_source(request):
            raise typer.Exit(1)


@app.command()
def wrap(
    *,
    per_prompt: Annotated[
        int, typer.Option(help="Wrappers of each prompt.", min=1, max=50)
    ] = 1,
    share: Annotated[
        float,
        typer.Option(help="Share of the harmful prompts to wrap.", min=0.0, max=1.0),
    ] = 0.25,
    wrappers: Annotated[
        Path | None,
        typer.Option(
            help="A file of further wrappers, in the form of docs/prompts.md.",
            callback=from_here,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Name or kind of a wrapper; may be repeated."),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            help="Name of the source; 'wrapped', or 'rehearsed_wrapped' in a rehearsal."
        ),
    ] = "",
    show: Annotated[
        bool, typer.Option("--list", help="List the wrappers, and do nothing else.")
    ] = False,
) -> None:
    """Put jailbreaks around harmful prompts, for training alone, as a source.

    The same prompts get the same wrappers every time, and no model is asked. What is held out or in
    an evaluation set is not wrapped. Exit status 1: there is no prompt to wrap.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.prompt_wrapping import (
            Request,
            list_wrappers,
            wrap_source,
        )

        if show:
            list_wrappers(wrappers)
            return
        request = Request(per_prompt, share, wrappers, tuple(only or ()), name)
        if not wrap_source(request):
            raise typer.Exit(1)


@app.command()
def twins(
    *,
    per_prompt: Annotated[
        int,
        typer.Option(
            help="Twins of each prompt: one per benign intent.", min=1, max=10
        ),
    ] = 1,
    most: Annotated[
        int, typer.Option(help="Twins to ask for at most.", min=1, max=100_000)
    ] = 1000,
    name: Annotated[
        str,
        typer.Option(
            help="Name of the source; 'twins', or 'rehearsed_twins' without a model."
        ),
    ] = "",
    licence: Annotated[
        str,
        typer.Option(help="Licence of the twins; else that of the harmful prompt."),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Begin without being asked.")
    ] = False,
) -> None:
    """Write harmless look-alikes of harmful prompts, for training alone, as a source.

    Each serves a benign intent that was found behind the harmful words, and a judge has to find it
    benign. Exit status 1: no twin was taken, and some were wanted.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.prompt_twins import Request, make_twins

        if not make_twins(Request(per_prompt, most, name, licence, yes)):
            raise typer.Exit(1)
