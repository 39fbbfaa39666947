"""Section: which policies the rows of each category cite, as a heat map."""

import polars as pl

from aidsafe_dagster.quality.coverage import citations, uncovered_policies
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import Section, Table, format_count

TITLE = "Policy coverage"
UNNAMED = "(no category)"
OTHERS = "(other categories)"
_MOST = 24


def policies_section(dataset: Dataset, policies: Policies) -> Section:
    rules = pl.col("thoughts").list.eval(pl.struct(pl.element().struct.field("rules")))
    columns = ("prompt_id", "category", "applicable_policies", "thoughts")
    rows = dataset.map_batches(Stage.REFINED_COTS, columns, lambda rows: rows.with_columns(rules))
    if not rows.height:
        return Section(TITLE, "No row was refined yet (stage refined_cots).")
    silent = uncovered_policies(rows, policies)
    intro = (
        f"No row cites: {', '.join(silent)}." if silent else "Every policy is cited by some row."
    )
    return Section(TITLE, intro, [_heat_map(rows, policies)])


def citing_shares(rows: pl.DataFrame, policies: Policies) -> list[tuple[str, int, list[float]]]:
    """Per category, the most frequent first: its rows, and the share of them that cites each policy.

    A row of several categories, joined by ';', counts in each. Beyond two dozen, categories are taken together.
    """
    placed = _categories(rows)
    cited = citations(rows).select(pl.col("row"), "policy").unique()
    both = (
        placed.join(cited, on="row")
        .group_by("category", "policy")
        .agg(pl.col("row").n_unique())
        .rows()
    )
    citing = {(category, policy): n for category, policy, n in both}
    totals = placed.group_by("category").agg(pl.col("row").n_unique()).rows()
    return [
        (category, n, [citing.get((category, policy), 0) / n for policy in policies.ids])
        for category, n in sorted(totals, key=lambda line: (line[0] == OTHERS, -line[1], line[0]))
    ]


def _categories(rows: pl.DataFrame) -> pl.DataFrame:
    """`row` (0-based place), `category`; one line each."""
    split = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), pl.col("category").str.split(";")
    )
    named = split.explode("category").with_columns(
        pl.col("category").str.strip_chars().replace("", UNNAMED)
    )
    counts = named.group_by("category").len().sort(["len", "category"], descending=[True, False])
    rare = counts["category"][_MOST:].to_list()
    return named.with_columns(pl.col("category").replace(dict.fromkeys(rare, OTHERS))).unique()


def _heat_map(rows: pl.DataFrame, policies: Policies) -> Table:
    shares = citing_shares(rows, policies)
    return Table(
        "Share of a category's rows that cite each policy",
        ("category", "rows", *(policy.title for policy in policies.policies)),
        tuple(
            (category, format_count(n), *(f"{100 * share:.0f} %" for share in found))
            for category, n, found in shares
        ),
        shades=tuple((None, *found) for _, _, found in shares),
    )
