"""The split report: the rows of each split, by everything that should be alike in all splits."""

from itertools import product

import polars as pl

from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate, SplitSettings
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import EXCLUSION_REASONS, FOUND
from aidsafe_dagster.reports.floors import floor_table, floors_by_batch_table
from aidsafe_dagster.reports.sections import Section, Table, format_count, format_share

SPLITS = ("train", "validation", "test")
COLUMNS = (
    "prompt_id",
    "cluster",
    "source",
    "kind",
    "split",
    "prompt_kind",
    "derivation",
)
"""Columns of the fine-tune rows that a report on them needs."""
_KINDS = ("sft", "dpo")
_MAX_CLUSTERS = 10
_NO_POLICY = "(none)"


def with_policies(rows: pl.DataFrame, refined: pl.DataFrame) -> pl.DataFrame:
    """Return the fine-tune rows' `COLUMNS` with the `policies` that apply to their prompts.

    Fills in what older releases did not write: a prompt without a cluster is a cluster of its own,
    and the kind of a prompt without a kind is "unknown".
    """
    # The fine-tune rows do not repeat the policies; the refined rows behind them have them.
    policies = refined.select(
        "prompt_id", pl.col("applicable_policies").alias("policies")
    )
    has_no_cluster = pl.col("cluster").fill_null("") == ""
    complete = rows.select(COLUMNS).with_columns(
        pl.when(has_no_cluster).then("prompt_id").otherwise("cluster").alias("cluster"),
        pl.col("prompt_kind").fill_null("unknown"),
        _how_made(rows).alias("how_made"),
    )
    return complete.join(
        policies.unique("prompt_id"), on="prompt_id", how="left", maintain_order="left"
    )


def _how_made(rows: pl.DataFrame) -> pl.Expr:
    """Return how each prompt was made; rows of older releases do not say."""
    if not isinstance(rows.schema["derivation"], pl.Struct):
        return pl.lit(FOUND)
    return pl.col("derivation").struct.field("method").fill_null(FOUND)


def count_strata(rows: pl.DataFrame) -> pl.DataFrame:
    """Count rows and clusters by split × kind × policy × source × prompt kind.

    A row counts under each of its policies.
    """
    keys = ["split", "kind", "policy", "source", "prompt_kind"]
    counts = _explode_policies(rows).group_by(keys)
    return counts.agg(
        pl.len().alias("rows"), pl.col("cluster").n_unique().alias("clusters")
    ).sort(keys)


def split_sections(
    rows: pl.DataFrame,
    failures: pl.DataFrame,
    settings: SplitSettings,
    gate: ScoreGate = ScoreGate(),
) -> list[Section]:
    """Return the tables on the rows, the rows that were left out, and all strata."""
    left_out_tables = [
        _left_out_table(failures),
        floor_table(failures, gate),
        floors_by_batch_table(failures),
    ]
    return [
        Section("Splits", tables=build_split_tables(rows, settings)),
        Section("Left out", "Sound rows that are in no split.", left_out_tables),
        Section("Strata", tables=[_strata_table(rows)]),
    ]


def build_split_tables(rows: pl.DataFrame, settings: SplitSettings) -> list[Table]:
    """Return shares, general mix, rows by policy, source and prompt kind, and largest clusters."""
    tables_of_origin = []
    if (rows["how_made"] != FOUND).any():
        tables_of_origin.append(_cross_table(rows, "how_made"))
    return [
        _share_table(rows, settings),
        _mix_table(rows, settings),
        _cross_table(_explode_policies(rows), "policy"),
        _cross_table(rows, "source"),
        _cross_table(rows, "prompt_kind"),
        *tables_of_origin,
        _largest_clusters_table(rows),
    ]


def find_spanning(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Find the clusters, or the prompts, with rows in more than one split.

    Args:
        rows: fine-tune rows.
        column: 'cluster' or 'prompt_id'.

    Returns:
        `column` and the list of its `splits`.
    """
    # Sorted, so that a message about a cluster reads the same every time.
    sorted_splits = pl.col("split").unique().sort()
    splits = rows.group_by(column).agg(sorted_splits.alias("splits"))
    return splits.filter(pl.col("splits").list.len() > 1).sort(column)


def _share_table(rows: pl.DataFrame, settings: SplitSettings) -> Table:
    set_shares = {
        "train": 1 - (settings.validation + settings.test),
        "validation": settings.validation,
        "test": settings.test,
    }
    all_clusters = rows["cluster"].n_unique()
    table_rows = []
    for split in SPLITS:
        split_rows = rows.filter(split=split)
        clusters = split_rows["cluster"].n_unique()
        table_rows.append(
            (
                split,
                f"{100 * set_shares[split]:g} %",
                format_share(clusters, all_clusters),
                format_count(clusters),
                format_count(split_rows["prompt_id"].n_unique()),
                format_count(split_rows.filter(kind="sft").height),
                format_count(split_rows.filter(kind="dpo").height),
            )
        )
    columns = (
        "split",
        "share set",
        "share of clusters",
        "clusters",
        "prompts",
        "SFT rows",
        "DPO rows",
    )
    note = "Splits are assigned by cluster, so the shares are shares of clusters."
    return Table("Shares of the splits", columns, tuple(table_rows), note)


def _mix_table(rows: pl.DataFrame, settings: SplitSettings) -> Table:
    sft = rows.filter(kind="sft")
    mix_rows = [MixRow(*row) for row in sft.select(MixRow._fields).iter_rows()]
    # The splits keep all rows. The mix is drawn anew here, as a release and a training draw it.
    selected = list(select_general(mix_rows, settings.general_ratio))
    table_rows = []
    for split in SPLITS:
        split_rows = sft.filter(split=split)
        general = split_rows.filter(prompt_kind="benign")
        staying = general.filter(pl.col("prompt_id").is_in(selected))
        counts = (
            split_rows.height - general.height,
            general.height,
            staying.height,
        )
        table_rows.append((split, *map(format_count, counts)))
    limit = "all stay"
    if settings.general_ratio is not None:
        limit = f"{settings.general_ratio:g} for each safety row"
    return Table(
        "General mix",
        ("split", "safety rows", "general rows", "general rows that stay"),
        tuple(table_rows),
        f"SFT rows. General rows have benign prompts; {limit}.",
    )


def _cross_table(rows: pl.DataFrame, column: str) -> Table:
    """Count rows by one property, with a column per kind and split."""
    counts: dict[tuple[str, str, str], int] = {}
    by_place = rows.group_by(column, "kind", "split").len()
    for value, kind, split, n in by_place.iter_rows():
        counts[value, kind, split] = n
    kind_splits = list(product(_KINDS, SPLITS))
    table_rows = []
    for value in rows[column].unique().sort():
        cells = []
        for kind, split in kind_splits:
            n = counts.get((value, kind, split), 0)
            cells.append(format_count(n))
        table_rows.append((value, *cells))
    name = column.replace("_", " ")
    columns = [name]
    for kind, split in kind_splits:
        columns.append(f"{kind} {split}")
    return Table(f"Rows by {name}", tuple(columns), tuple(table_rows))


def _largest_clusters_table(rows: pl.DataFrame) -> Table:
    # A prompt may have an SFT row and a DPO row. Both are in one split.
    clusters = rows.unique("prompt_id").group_by("cluster", "split")
    counts = clusters.agg(
        pl.col("source").unique().sort().str.join(", ").alias("sources"),
        pl.len().alias("prompts"),
    )
    shared = counts.filter(pl.col("prompts") > 1)
    by_size = shared.sort("prompts", "cluster", descending=[True, False])
    largest = by_size.head(_MAX_CLUSTERS)
    as_text = largest.with_columns(pl.col("prompts").cast(pl.String))
    table_rows = tuple(as_text.iter_rows())
    columns = ("cluster", "split", "sources", "prompts")
    note = "Clusters of more than one prompt."
    return Table("Largest clusters", columns, table_rows, note, text_columns=3)


def _left_out_table(failures: pl.DataFrame) -> Table:
    reasons = list(map(str, EXCLUSION_REASONS))
    left_out = failures.filter(pl.col("reason").is_in(reasons))
    counts = left_out.group_by("stage", "reason").len().sort("stage", "reason")
    rows = tuple(
        (stage, reason, format_count(n)) for stage, reason, n in counts.iter_rows()
    )
    return Table(
        "Rows left out",
        ("stage", "reason", "rows"),
        rows,
        text_columns=2,
    )


def _strata_table(rows: pl.DataFrame) -> Table:
    as_text = count_strata(rows).with_columns(pl.all().cast(pl.String))
    table_rows = tuple(as_text.iter_rows())
    columns = (
        "split",
        "kind",
        "policy",
        "source",
        "prompt kind",
        "rows",
        "clusters",
    )
    note = "A row counts under each policy that applies to it."
    return Table("Rows and clusters", columns, table_rows, note, text_columns=5)


def _explode_policies(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a row per fine-tune row and `policy`; one as well for a row to which none applies."""
    no_policy = pl.lit([_NO_POLICY], dtype=pl.List(pl.String))
    has_policies = pl.col("policies").list.len() > 0
    policy = pl.when(has_policies).then("policies").otherwise(no_policy).alias("policy")
    return rows.with_columns(policy).explode("policy")
