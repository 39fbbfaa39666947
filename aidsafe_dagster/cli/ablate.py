"""`aidsafe ablate …`: experiments on a sample of prompts, one command each."""

from typing import Annotated

import typer

from aidsafe_dagster.cli.chosen_batches import Batches, Sources
from aidsafe_dagster.cli.console import setup_errors_explained

app = typer.Typer(
    help="Experiments: variants of the recipe on the same prompts, with intervals and cost.",
    no_args_is_help=True,
)

Sample = Annotated[
    int | None,
    typer.Option(help="Prompts to take; else ablation.sample.", min=1),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Begin without being asked.")]


@app.command()
def rounds(
    *,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """Deliberation cut off after 0, 1, 2, … rounds."""
    _run("rounds", {}, sample, batches, sources, yes=yes)


def _run(
    name: str,
    config: dict[str, object],
    sample: int | None,
    batches: list[str] | None,
    sources: list[str] | None,
    *,
    yes: bool,
) -> None:
    with setup_errors_explained():
        from aidsafe_dagster.cli.ablating import Request, run_experiment

        request = Request(name, config, sample, batches or (), sources or ())
        run_experiment(request, is_agreed=yes)
