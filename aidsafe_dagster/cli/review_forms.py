"""A review's forms on their way out, and the ratings on their way back."""

from collections.abc import Sequence
from pathlib import Path

import rich.table
from rich.box import SIMPLE_HEAD
from rich.markup import escape

from aidsafe_dagster.cli.chosen_batches import choose_batches
from aidsafe_dagster.cli.console import REHEARSAL, console, print_plain, quantity
from aidsafe_dagster.cli.project_folder import shown
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
from aidsafe_dagster.sources.tables import INGESTED


def make_forms(
    out: Path,
    size: int,
    pairs: Sequence[str],
    seed: int,
    *,
    batches: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> None:
    """Draw a sample, write its forms to `out`, and keep the key that unblinds it.

    Raises:
        SetupError: a pair of versions is not valid, or the folder cannot be written.
    """
    settings = load_settings().settings
    words = load_metric_definitions(settings.prompts)
    versions = [parse_pair(text) for text in pairs] or PAIRS
    lake = Lake(settings.lake)
    chosen = choose_batches(lake.batches(INGESTED), batches, sources, "review")
    sample = draw_sample(lake, size, versions, seed, chosen)
    form = html_form(sample, settings.load_policies(), words)
    files = _write_forms(out, sample, form)
    # The key stays on the site: in the form it would unblind the raters.
    Archive(settings.home).store_key(sample)
    if sample.simulated:
        console.print(REHEARSAL)
    if sample.left_out:
        batches_left_out = quantity(sample.left_out, "rehearsal batch")
        print_plain(f"{batches_left_out} left out: simulated, and others are not.")
    count = len(sample.items)
    if count < size:
        have = "has" if count == 1 else "have"
        console.print(
            f"[yellow]Only {quantity(count, 'prompt')} {have} the versions asked for.[/]"
        )
    console.print(
        f"Review {sample.review_id}: {quantity(count, 'item')}, blinded. "
        "Send one of these to each rater:"
    )
    for file in files:
        print_plain(f"  {shown(file)}")
    console.print(
        "What comes back: aidsafe review read FILE --rater NAME", highlight=False
    )


def read_files(files: Sequence[Path], rater: str | None) -> None:
    """Take the ratings in, and print what the raters of their reviews have said so far.

    Raises:
        SetupError: a file is not valid; then none of them is taken in.
    """
    settings = load_settings().settings
    archive = Archive(settings.home)
    items = {}
    # A file of ratings names its review, and any review of this site may come back.
    for review in archive.reviews():
        items[review] = [row.item_id for row in archive.key(review)]
    # Every file is checked before any of them is kept.
    ratings_by_file = {file: read_ratings(file, rater, items) for file in files}
    reviews = []
    for file, ratings in ratings_by_file.items():
        first = ratings[0]
        is_new = archive.add_ratings(first.review_id, ratings)
        outcome = "was read before; nothing changed"
        # Reading a file twice must change nothing, so the archive says whether it had it.
        if is_new:
            outcome = f"{quantity(len(ratings), 'item')} rated by {first.rater}"
        print_plain(f"{shown(file)}: {outcome}")
        if first.review_id not in reviews:
            reviews.append(first.review_id)
    lake = Lake(settings.lake)
    for review in reviews:
        _print_results(archive, review, lake)


def _write_forms(folder: Path, sample: ReviewSample, form: str) -> Sequence[Path]:
    html_file = folder / f"{sample.review_id}.html"
    csv_file = folder / f"{sample.review_id}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        html_file.write_text(form, encoding="utf-8", newline="")
        # The mark at the beginning tells spreadsheet programs that the file is UTF-8.
        csv_file.write_text(csv_form(sample), encoding="utf-8-sig", newline="")
    except OSError as error:
        raise SetupError(f"--out {folder}: {error.strerror}") from error
    return [html_file, csv_file]


def _print_results(archive: Archive, review: str, lake: Lake) -> None:
    key = archive.key(review)
    ratings = archive.ratings(review)
    section = review_section(summarise_review(review, key, ratings, lake))
    console.rule(section.title)
    console.print(section.intro, markup=False, highlight=False)
    for table in section.tables:
        console.print(_terminal_table(table))


def _terminal_table(table: Table) -> rich.table.Table:
    terminal_table = rich.table.Table(
        title=table.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for number, column in enumerate(table.columns):
        justify = "left" if number < table.text_columns else "right"
        terminal_table.add_column(escape(column), overflow="fold", justify=justify)  # type: ignore[arg-type]
    for row in table.rows:
        terminal_table.add_row(*map(escape, row))
    terminal_table.caption = escape(table.note)
    terminal_table.caption_justify = "left"
    return terminal_table
