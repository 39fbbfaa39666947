"""The split report: what is in which split, by everything that should be alike in all of them."""

import polars as pl

from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import LEFT_OUT
from aidsafe_dagster.reports.sections import Section, Table, format_count, share

SPLITS = ("train", "validation", "test")
COLUMNS = ("prompt_id", "cluster", "source", "kind", "split", "prompt_kind")
"""Of the fine-tune rows, what a report on them needs."""
_LARGEST = 10
_NO_POLICY = "(none)"


def with_policies(rows: pl.DataFrame, refined: pl.DataFrame) -> pl.DataFrame:
    """The fine-tune rows' `COLUMNS` with their `policies`: those that apply to the prompt, by the refined rows.

    `cluster` is settled: a prompt that was ingested before there were clusters is one of its own.
    """
    applicable = refined.select(
        "prompt_id", pl.col("applicable_policies").alias("policies")
    ).unique("prompt_id")
    own = pl.when(pl.col("cluster").fill_null("") == "").then("prompt_id").otherwise("cluster")
    found = rows.select(COLUMNS).with_columns(
        own.alias("cluster"), pl.col("prompt_kind").fill_null("unknown")
    )
    return found.join(applicable, on="prompt_id", how="left", maintain_order="left")


def count_strata(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows and clusters by split × kind × policy × source × prompt kind; a row counts under each of its policies."""
    by = ["split", "kind", "policy", "source", "prompt_kind"]
    counts = (
        _by_policy(rows)
        .group_by(by)
        .agg(pl.len().alias("rows"), pl.col("cluster").n_unique().alias("clusters"))
    )
    return counts.sort(by)


def split_sections(
    rows: pl.DataFrame, failures: pl.DataFrame, settings: SplitSettings
) -> list[Section]:
    """The tables on the rows, what was left out, and all count_strata."""
    crossed = [tuple(str(value) for value in line) for line in count_strata(rows).iter_rows()]
    columns = ("split", "kind", "policy", "source", "prompt kind", "rows", "clusters")
    every = Table(
        "Rows and clusters",
        columns,
        tuple(crossed),
        "A row counts under each policy that applies to it.",
        5,
    )
    return [
        Section("Splits", tables=build_split_tables(rows, settings)),
        Section("Left out", "Sound rows that are in no split.", [_left_out(failures)]),
        Section("Strata", tables=[every]),
    ]


def build_split_tables(rows: pl.DataFrame, settings: SplitSettings) -> list[Table]:
    """Shares, general mix, largest clusters, and the rows by policy, source and prompt kind."""
    return [
        _shares(rows, settings),
        _mix(rows, settings),
        _crossed(_by_policy(rows), "policy"),
        _crossed(rows, "source"),
        _crossed(rows, "prompt_kind"),
        _largest(rows),
    ]


def find_spanning(rows: pl.DataFrame, what: str) -> pl.DataFrame:
    """Clusters, or prompts, with rows in more than one split: `what` ('cluster' or 'prompt_id') and `splits`."""
    splits = rows.group_by(what).agg(pl.col("split").unique().sort().alias("splits"))
    return splits.filter(pl.col("splits").list.len() > 1).sort(what)


def _shares(rows: pl.DataFrame, settings: SplitSettings) -> Table:
    asked = {"validation": settings.validation, "test": settings.test}
    asked["train"] = 1 - sum(asked.values())
    clusters = rows["cluster"].n_unique()

    def line(split: str) -> tuple[str, ...]:
        of_split = rows.filter(split=split)
        found = of_split["cluster"].n_unique(), of_split["prompt_id"].n_unique()
        kinds = (format_count(of_split.filter(kind=kind).height) for kind in ("sft", "dpo"))
        return (
            split,
            f"{100 * asked[split]:g} %",
            share(found[0], clusters),
            *map(format_count, found),
            *kinds,
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
    note = "Clusters are dealt out, so the shares are of them."
    return Table("Shares of the splits", columns, tuple(map(line, SPLITS)), note)


def _mix(rows: pl.DataFrame, settings: SplitSettings) -> Table:
    sft = rows.filter(kind="sft")
    kept = select_general(
        map(MixRow._make, sft.select(MixRow._fields).iter_rows()), settings.general_ratio
    )

    def line(split: str) -> tuple[str, ...]:
        benign = sft.filter(split=split, prompt_kind="benign")
        safety = sft.filter(split=split).height - benign.height
        staying = benign.filter(pl.col("prompt_id").is_in(list(kept))).height
        return split, format_count(safety), format_count(benign.height), format_count(staying)

    asked = (
        "all stay"
        if settings.general_ratio is None
        else f"{settings.general_ratio:g} for each safety row"
    )
    columns = ("split", "safety rows", "general rows", "general rows that stay")
    return Table(
        "General mix",
        columns,
        tuple(map(line, SPLITS)),
        f"SFT rows; general: benign prompts, {asked}.",
    )


def _crossed(rows: pl.DataFrame, what: str) -> Table:
    """Rows by one property, a column per kind and split."""
    places = [(kind, split) for kind in ("sft", "dpo") for split in SPLITS]
    counts = {(a, b, c): n for a, b, c, n in rows.group_by(what, "kind", "split").len().iter_rows()}
    named = what.replace("_", " ")
    lines = [
        (value, *(format_count(counts.get((value, *place), 0)) for place in places))
        for value in rows[what].unique().sort()
    ]
    return Table(
        f"Rows by {named}", (named, *(f"{kind} {split}" for kind, split in places)), tuple(lines)
    )


def _largest(rows: pl.DataFrame) -> Table:
    sources = pl.col("source").unique().sort().str.join(", ").alias("sources")
    clusters = (
        rows.unique("prompt_id")
        .group_by("cluster", "split")
        .agg(sources, pl.len().alias("prompts"))
    )
    largest = clusters.filter(pl.col("prompts") > 1).sort(
        "prompts", "cluster", descending=[True, False]
    )
    lines = largest.head(_LARGEST).with_columns(pl.col("prompts").cast(pl.String)).iter_rows()
    note = "Clusters of more than one prompt."
    return Table(
        "Largest clusters", ("cluster", "split", "sources", "prompts"), tuple(lines), note, words=3
    )


def _left_out(failures: pl.DataFrame) -> Table:
    sound = failures.filter(pl.col("reason").is_in([str(reason) for reason in LEFT_OUT]))
    counts = sound.group_by("stage", "reason").len().sort("stage", "reason")
    lines = tuple((stage, reason, format_count(n)) for stage, reason, n in counts.iter_rows())
    return Table("Rows left out", ("stage", "reason", "rows"), lines, words=2)


def _by_policy(rows: pl.DataFrame) -> pl.DataFrame:
    """A line per row and policy; one as well for a row to which none applies."""
    none = pl.lit([_NO_POLICY], dtype=pl.List(pl.String))
    named = pl.when(pl.col("policies").list.len() > 0).then("policies").otherwise(none)
    return rows.with_columns(named.alias("policy")).explode("policy")
