"""Reviews as sections of a report, and as what the terminal shows: the same tables."""

from pathlib import Path

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.reports.paper import NAMES, WORDING
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Section,
    Table,
    format_count,
    format_number,
    percentage,
    with_interval,
)
from aidsafe_dagster.review.archive import Archive
from aidsafe_dagster.review.results import ResultRow, Results, summarise_review

_SIMULATED = "The texts that were rated are the rehearsal engine's, simulated by rule: this says nothing of a model. "
_KAPPA = "Cohen's kappa with quadratic weights: 1 is full agreement, 0 what chance gives."


def review_sections(home: Path, lake: Lake) -> list[Section]:
    """A section per review that somebody has rated, by id.

    Raises:
        SetupError: a file of a review is damaged.
    """
    archive = Archive(home)
    found = [
        summarise_review(review, archive.key(review), archive.ratings(review), lake)
        for review in archive.reviews()
    ]
    return [review_section(results) for results in found if results.raters]


def review_section(results: Results) -> Section:
    """What people say of a blinded sample, beside the judges."""
    tables = [
        _raters(results),
        _scores(results),
        _preferences(results),
        _agreement(results),
        _judges(results),
    ]
    people = "one person" if len(results.raters) == 1 else f"{len(results.raters)} people"
    intro = f"A blinded sample of {results.items} items, rated by {people}. An item counts once however many rated it."
    intro = f"{_SIMULATED}{intro}" if results.simulated else intro
    return Section(
        f"Human check ({results.review_id})", intro, [table for table in tables if table.rows]
    )


def _raters(results: Results) -> Table:
    columns = ("rater", "items", "scores", "preferences")
    return Table(
        "Raters", columns, tuple(tuple(map(str, line.values())) for line in results.raters)
    )


def _scores(results: Results) -> Table:
    means = {
        (line["metric"], line["version"]): with_interval(_estimate(line, "mean"))
        for line in results.scores
    }
    versions = [version for version in NAMES if any(version == of for _, of in means)]
    metrics = [metric for metric in METRICS if any(metric == of for of, _ in means)]
    rows = tuple(
        (WORDING[m], *(means.get((m, version), EMPTY_CELL) for version in versions)) for m in metrics
    )
    note = "Mean of 1 to 5 over items, with 95 % bootstrap intervals. Not every version is rated on every prompt."
    return Table(
        "Scores by people", ("metric", *(NAMES[version] for version in versions)), rows, note
    )


def _preferences(results: Results) -> Table:
    rows = tuple(
        (
            _named(line["versions"]),
            *(format_count(line[name]) for name in ("wins", "ties", "losses")),
            _rate(line),
        )
        for line in results.preferences
    )
    note = "By the majority of an item's raters; a tie counts half. With 95 % Wilson intervals."
    return Table("Preferences of people", ("", "wins", "ties", "losses", "win rate"), rows, note)


def _named(versions: str) -> str:
    return " against ".join(NAMES[version] for version in versions.split(" against "))


def _rate(line: ResultRow) -> str:
    return percentage(_estimate(line, "win_rate"))


def _agreement(results: Results) -> Table:
    rows = tuple(
        (_worded(line["what"]), format_number(line["kappa"]), format_count(line["marks_in_common"]))
        for line in results.agreement
    )
    pairs = max((line["rater_pairs"] for line in results.agreement), default=0)
    note = f"{_KAPPA} Mean over {pairs} pairs of raters." if pairs > 1 else _KAPPA
    return Table("Agreement between raters", ("", "kappa", "marks in common"), rows, note)


def _judges(results: Results) -> Table:
    rows = tuple(
        (
            line["judge"],
            _worded(line["what"]),
            format_number(line["kappa"]),
            format_number(line["spearman"]),
            format_count(line["marks_in_common"]),
        )
        for line in results.judges
    )
    note = (
        f"{_KAPPA} Of the people's mean, rounded; Spearman's rank correlation of the mean itself."
    )
    columns = ("judge", "", "kappa", "Spearman", "marks in common")
    return Table("Agreement of people with the judges", columns, rows, note, words=2)


def _worded(what: str) -> str:
    words: dict[str, str] = {str(metric): wording for metric, wording in WORDING.items()}
    return words.get(what, what)


def _estimate(line: ResultRow, name: str) -> Estimate:
    return Estimate(line[name], line["low"], line["high"], line["items"])
