"""`aidsafe review make | read`: the human check of what the judges say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import rich.table
import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape

from aidsafe_dagster.cli.console import REHEARSAL, console, explained
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.reports.sections import Table
from aidsafe_dagster.review.archive import Archive
from aidsafe_dagster.review.form import csv_form, html_form, load_metric_definitions
from aidsafe_dagster.review.ratings import read_ratings
from aidsafe_dagster.review.results import summarise_review
from aidsafe_dagster.review.sample import PAIRS, ReviewSample, draw_sample, parse_pair
from aidsafe_dagster.review.sections import review_section
from aidsafe_dagster.settings.load import load_settings

app = typer.Typer(
    help="The human check: a blinded sample for people to rate.", no_args_is_help=True
)


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder for the form.")],
    sample: Annotated[int, typer.Option(help="Items in the form.", min=1)] = 50,
    of: Annotated[
        list[str] | None,
        typer.Option(
            help="Two versions to compare, such as 'refined,single_llm'; may be given again."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws another sample.")] = 0,
) -> None:
    """Draw a blinded, shuffled sample, as an HTML form that works offline and as a CSV file."""
    with explained():
        settings = load_settings().settings
        words = load_metric_definitions(settings.prompts)
        drawn = draw_sample(
            Lake(settings.lake), sample, [parse_pair(text) for text in of or ()] or PAIRS, seed
        )
        files = _write(out, drawn, html_form(drawn, settings.load_policies(), words))
        Archive(settings.home).store_key(drawn)
        if drawn.simulated:
            console.print(REHEARSAL)
        if len(drawn.items) < sample:
            console.print(
                f"[yellow]Only {len(drawn.items)} prompts have the versions asked for.[/]"
            )
        console.print(
            f"Review {drawn.review_id}: {len(drawn.items)} items, blinded. Send one of these to each rater:"
        )
        for file in files:
            console.print(f"  {file}", markup=False, highlight=False, soft_wrap=True)
        console.print("What comes back: aidsafe review read FILE --rater NAME", highlight=False)


@app.command()
def read(
    files: Annotated[list[Path], typer.Argument(help="Files of ratings, CSV or JSON.")],
    rater: Annotated[
        str | None, typer.Option(help="Who rated; not needed where the file says it.")
    ] = None,
) -> None:
    """Take ratings in, and show what the raters of that review have said so far."""
    with explained():
        settings = load_settings().settings
        archive = Archive(settings.home)
        keys = {
            review: [row.item_id for row in archive.key(review)] for review in archive.reviews()
        }
        found = [
            read_ratings(file, rater, keys) for file in files
        ]  # all are checked before any is kept
        for file, ratings in zip(files, found, strict=True):
            kept = archive.add_ratings(ratings[0].review_id, ratings)
            told = (
                f"{len(ratings)} items rated by {ratings[0].rater}"
                if kept
                else "was read before; nothing changed"
            )
            console.print(f"{file}: {told}", markup=False, highlight=False, soft_wrap=True)
        for review in dict.fromkeys(ratings[0].review_id for ratings in found):
            _show(archive, review, Lake(settings.lake))


def _write(folder: Path, sample: ReviewSample, form: str) -> Sequence[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            folder / f"{sample.review_id}.html": form,
            folder / f"{sample.review_id}.csv": csv_form(sample),
        }
        for file, text in files.items():
            file.write_text(
                text, encoding="utf-8-sig" if file.suffix == ".csv" else "utf-8", newline=""
            )
    except OSError as error:
        raise SetupError(f"--out {folder}: {error.strerror}") from error
    return list(files)


def _show(archive: Archive, review: str, lake: Lake) -> None:
    results = summarise_review(review, archive.key(review), archive.ratings(review), lake)
    section = review_section(results)
    console.rule(section.title)
    console.print(section.intro, markup=False, highlight=False)
    for table in section.tables:
        console.print(_table(table))


def _table(table: Table) -> rich.table.Table:
    found = rich.table.Table(
        title=table.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for n, column in enumerate(table.columns):
        found.add_column(
            escape(column), overflow="fold", justify="left" if n < table.text_columns else "right"
        )
    for row in table.rows:
        found.add_row(*map(escape, row))
    found.caption, found.caption_justify = escape(table.note), "left"
    return found
