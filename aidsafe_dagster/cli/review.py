"""`aidsafe review make | read`: the human check of what the judges say."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.chosen_batches import Batches, Sources
from aidsafe_dagster.cli.console import setup_errors_explained
from aidsafe_dagster.cli.project_folder import all_from_here, from_here

app = typer.Typer(
    help="The human check: a blinded sample for people to rate.", no_args_is_help=True
)


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder for the form.", callback=from_here)],
    sample: Annotated[int, typer.Option(help="Items in the form.", min=1)] = 50,
    of: Annotated[
        list[str] | None,
        typer.Option(
            help="Two versions to compare, such as 'refined,single_llm'; may be given again."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws another sample.")] = 0,
    batches: Batches = None,
    sources: Sources = None,
) -> None:
    """Draw a blinded, shuffled sample, as an HTML form that works offline and as a CSV file."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.review_forms import make_forms

        make_forms(out, sample, of or [], seed, batches=batches, sources=sources)


@app.command()
def read(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files of ratings, CSV or JSON.", callback=all_from_here),
    ],
    rater: Annotated[
        str | None, typer.Option(help="Who rated; not needed where the file says it.")
    ] = None,
) -> None:
    """Take ratings in, and show what the raters of that review have said so far."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.review_forms import read_files

        read_files(files, rater)
