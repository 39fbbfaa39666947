"""`aidsafe generation …`: the loop closed, a generation after another."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here

app = typer.Typer(
    help="The loop: data, training, evaluation; then again, with the adapter as the target.",
    no_args_is_help=True,
)


@app.command()
def run(
    number: Annotated[
        int | None,
        typer.Argument(
            help="The generation; else the one that is begun, or the next.", min=1
        ),
    ] = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Begin without being asked.")
    ] = False,
) -> None:
    """Run a generation, or go on with it: data, train, evaluate, compare with the last.

    The first one is this project. From the second on, the adapter of the one before answers for the
    target ([generation] in the settings), in a project of its own below data/generations. What was
    asked, trained or evaluated before is not done again, also after a kill.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.generation_run import run_generation

        if not run_generation(number, is_agreed=yes):
            raise typer.Exit(1)


@app.command("list")
def list_all() -> None:
    """List the generations: what speaks, rows, adapters, and how far each has come."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.generation_table import print_generations

        print_generations()


@app.command()
def compare(
    a: Annotated[
        int | None,
        typer.Argument(metavar="A", help="A generation; else the last but one.", min=1),
    ] = None,
    b: Annotated[
        int | None, typer.Argument(metavar="B", help="Another; else the last.", min=1)
    ] = None,
    *,
    html: Annotated[
        Path | None,
        typer.Option(
            callback=from_here,
            help="Where the page goes; generations.html among B's reports if not given.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object of JSON, and no page.")
    ] = False,
) -> None:
    """Compare two generations on the same prompts: pairs, adapters on benchmarks, cost.

    With 95 % intervals. Prompts that failed count.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.generation_comparison import compare_generations

        compare_generations(a, b, page=html, as_json=as_json)
