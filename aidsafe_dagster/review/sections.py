"""The results of reviews as tables, for the report and for the terminal."""

from pathlib import Path

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.reports.paper import METRIC_NAMES, VERSION_NAMES
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_percentage,
)
from aidsafe_dagster.review.archive import Archive
from aidsafe_dagster.review.results import ResultRow, Results, summarise_review

_SIMULATION_NOTE = (
    "The rated texts come from the rehearsal engine. They were simulated by rule and say nothing "
    "about any model. "
)
_KAPPA_NOTE = "Cohen's kappa with quadratic weights: 1 is full agreement, 0 is chance."


def review_sections(home: Path, lake: Lake) -> list[Section]:
    """Return a section per review that somebody has rated, by id.

    Raises:
        SetupError: a file of a review is damaged.
    """
    archive = Archive(home)
    sections = []
    for review in archive.reviews():
        key, ratings = archive.key(review), archive.ratings(review)
        results = summarise_review(review, key, ratings, lake)
        # A form that was made and not yet rated has nothing to show.
        if results.raters:
            sections.append(review_section(results))
    return sections


def review_section(results: Results) -> Section:
    """Show the ratings of a blinded sample beside the judges' grades. Empty tables are left out."""
    tables = [
        _rater_table(results),
        _score_table(results),
        _preference_table(results),
        _agreement_table(results),
        _judge_table(results),
    ]
    raters = len(results.raters)
    people = "one person" if raters == 1 else f"{raters} people"
    intro = (
        f"A blinded sample of {results.items} items, rated by {people}. "
        "An item counts once, however many people rated it."
    )
    if results.simulated:
        intro = _SIMULATION_NOTE + intro
    title = f"Human check ({results.review_id})"
    return Section(
        title,
        intro,
        [table for table in tables if table.rows],
    )


def _rater_table(results: Results) -> Table:
    columns = ("rater", "items", "scores", "preferences")
    rows = []
    for row in results.raters:
        cells = [str(row[column]) for column in columns]
        rows.append(tuple(cells))
    return Table("Raters", columns, tuple(rows))


def _score_table(results: Results) -> Table:
    means = {}
    rated_metrics: set[str] = set()
    rated_versions: set[str] = set()
    for row in results.scores:
        estimate = _to_estimate(row, "mean")
        means[row["metric"], row["version"]] = format_estimate(estimate)
        rated_metrics.add(row["metric"])
        rated_versions.add(row["version"])
    versions = [version for version in VERSION_NAMES if version in rated_versions]
    rows = []
    for metric in METRICS:
        if metric in rated_metrics:
            cells = [means.get((metric, version), EMPTY_CELL) for version in versions]
            rows.append((METRIC_NAMES[metric], *cells))
    columns = ("metric", *(VERSION_NAMES[version] for version in versions))
    note = (
        "Mean scores from 1 to 5 over items, with 95 % bootstrap intervals. "
        "Not every version is rated on every prompt."
    )
    return Table("Scores by people", columns, tuple(rows), note)


def _preference_table(results: Results) -> Table:
    rows = []
    for row in results.preferences:
        rate = format_percentage(_to_estimate(row, "win_rate"))
        rows.append(
            (
                _describe_pair(row["versions"]),
                format_count(row["wins"]),
                format_count(row["ties"]),
                format_count(row["losses"]),
                rate,
            )
        )
    columns = ("", "wins", "ties", "losses", "win rate")
    note = "By the majority of each item's raters. A tie counts half. With 95 % Wilson intervals."
    return Table("Preferences of people", columns, tuple(rows), note)


def _describe_pair(versions: str) -> str:
    version, _, against = versions.partition(" against ")
    return f"{VERSION_NAMES[version]} against {VERSION_NAMES[against]}"


def _agreement_table(results: Results) -> Table:
    rows = []
    for row in results.agreement:
        counts = format_count(row["marks_in_common"])
        rows.append(
            (
                _describe_aspect(row["what"]),
                format_number(row["kappa"]),
                counts,
            )
        )
    # A metric that a pair of raters left out has fewer pairs, so the note names the most.
    pairs = 0
    for row in results.agreement:
        pairs = max(pairs, row["rater_pairs"])
    note = _KAPPA_NOTE
    if pairs > 1:
        note += f" Mean over {pairs} pairs of raters."
    return Table(
        "Agreement between raters",
        ("", "kappa", "marks in common"),
        tuple(rows),
        note,
    )


def _judge_table(results: Results) -> Table:
    rows = []
    for row in results.judges:
        rows.append(
            (
                row["judge"],
                _describe_aspect(row["what"]),
                format_number(row["kappa"]),
                format_number(row["spearman"]),
                format_count(row["marks_in_common"]),
            )
        )
    columns = ("judge", "", "kappa", "Spearman", "marks in common")
    note = (
        f"{_KAPPA_NOTE} Kappa compares the judge with the raters' mean, rounded. Spearman's rank "
        "correlation compares it with the mean itself."
    )
    title = "Agreement of people with the judges"
    return Table(
        title,
        columns,
        tuple(rows),
        note,
        text_columns=2,
    )


def _describe_aspect(aspect: str) -> str:
    for metric, name in METRIC_NAMES.items():
        if metric == aspect:
            return name
    return aspect


def _to_estimate(row: ResultRow, name: str) -> Estimate:
    return Estimate(
        row[name],
        row["low"],
        row["high"],
        row["items"],
    )
