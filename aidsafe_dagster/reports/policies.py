"""Section: a heat map of the policies that the rows of each category cite."""

from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.quality.coverage import citations, uncovered_policies
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import Section, Table, format_count

TITLE = "Policy coverage"
UNNAMED = "(no category)"
OTHERS = "(other categories)"
_MAX_CATEGORIES = 24


@dataclass(frozen=True)
class CategoryCoverage:
    """How often the rows of one category cite each policy."""

    category: str
    rows: int
    shares: tuple[float, ...]
    """0 to 1, a share per policy, in the order of the policies."""


def policies_section(dataset: Dataset, policies: Policies) -> Section:
    # Coverage needs the rules alone. The texts are most of the memory.
    rules = pl.element().struct.field("rules")
    rules_only = pl.col("thoughts").list.eval(pl.struct(rules))
    rows = dataset.map_batches(
        Stage.REFINED_COTS,
        ("prompt_id", "category", "applicable_policies", "thoughts"),
        lambda rows: rows.with_columns(rules_only),
    )
    if not rows.height:
        return Section(TITLE, "No row has been refined yet (stage refined_cots).")
    uncited = uncovered_policies(rows, policies)
    intro = "Every policy is cited by some row."
    if uncited:
        intro = f"No row cites: {', '.join(uncited)}."
    return Section(
        TITLE,
        intro,
        [_heat_map(rows, policies)],
    )


def compute_coverage(rows: pl.DataFrame, policies: Policies) -> list[CategoryCoverage]:
    """Return the coverage of each category, the most frequent category first.

    A row of several categories, joined by ';', counts in each. The categories beyond the most
    frequent are taken together.
    """
    categories = _categories(rows)
    citing_rows = citations(rows).select("row", "policy").unique()
    n_rows = pl.col("row").n_unique()
    by_policy = categories.join(citing_rows, on="row").group_by("category", "policy")
    citing_counts: dict[tuple[str, str], int] = {}
    for category, policy, n in by_policy.agg(n_rows).iter_rows():
        citing_counts[category, policy] = n

    totals = categories.group_by("category").agg(n_rows)
    is_others = pl.col("category") == OTHERS
    # The rest comes last, however large it is.
    totals = totals.sort(is_others, "row", "category", descending=[False, True, False])
    coverage = []
    for category, n in totals.iter_rows():
        shares = []
        for policy in policies.ids:
            citing = citing_counts.get((category, policy), 0)
            shares.append(citing / n)
        coverage.append(CategoryCoverage(category, n, tuple(shares)))
    return coverage


def _categories(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `row` (0-based) and `category`, a line for each category of each row."""
    numbered = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        pl.col("category").str.split(";"),
    )
    name = pl.col("category").str.strip_chars().replace("", UNNAMED)
    named = numbered.explode("category").with_columns(name)
    counts = named.group_by("category").len()
    counts = counts.sort("len", "category", descending=[True, False])
    # The table stays readable, whatever the categories of a source.
    rare = counts["category"][_MAX_CATEGORIES:].to_list()
    merged = pl.col("category").replace(dict.fromkeys(rare, OTHERS))
    # A row of two rare categories counts once among the others.
    return named.with_columns(merged).unique()


def _heat_map(rows: pl.DataFrame, policies: Policies) -> Table:
    table_rows: list[tuple[str, ...]] = []
    shades: list[tuple[float | None, ...]] = []
    for coverage in compute_coverage(rows, policies):
        # Without decimals: there is a column for every policy.
        cells = [f"{100 * share:.0f} %" for share in coverage.shares]
        table_rows.append(
            (
                coverage.category,
                format_count(coverage.rows),
                *cells,
            )
        )
        # The first figure of a row is a count and has no shade.
        shades.append((None, *coverage.shares))
    return Table(
        "Share of a category's rows that cite each policy",
        ("category", "rows", *(policy.title for policy in policies.policies)),
        tuple(table_rows),
        shades=tuple(shades),
    )
