"""`aidsafe prompts coverage`: what the prompts of the dataset cover."""

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
