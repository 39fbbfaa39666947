"""`aidsafe prompts coverage | grow`: what the prompts of the dataset cover, and new ones."""

from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained

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
