"""What `aidsafe status` shows of a partition, read from its files once.

All of it is small and adds up: counts, sums, and how often each length occurs, from which every
figure over a whole lake follows exactly. So a lake of a thousand batches need not be read again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from aidsafe_dagster.lake.batch_recipes import RECIPES
from aidsafe_dagster.lake.batched_reading import (
    OF_BATCH,
    read_failures_together,
    read_together,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import SPLIT_INPUTS
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.fine_tune_splits import SplitInputs
from aidsafe_dagster.recipe.records import METRICS, Record, Stage, Usage
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets
from aidsafe_dagster.recipe.stages import STAGES

RECORD_TABLES: Mapping[str, type[Record]] = {
    RECIPES: StageRecipe,
    SPLIT_INPUTS: SplitInputs,
}
"""Tables of a few records a batch, which are kept whole."""
_LENGTHS = ("cot_tokens", "chosen_cot_tokens")
_VALUES = ("recipe", "policies_version", "templates_version")
_COLUMNS = (
    "prompt_id",
    "usage",
    "simulated",
    "model",
    "servers",
    *_LENGTHS,
    *_VALUES,
)


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """Of one stage and batch; of other tables, rows and records alone."""

    rows: int
    fingerprint: str = ""
    """Of rows and failures, as `Lake.fingerprint`."""
    failed: dict[str, int] = field(default_factory=dict)
    """Failed rows by reason, in the order of their first row."""
    usage: dict[str, float] = field(default_factory=dict)
    """Of rows and failures together."""
    values: dict[str, list[str]] = field(default_factory=dict)
    """Which recipes and versions the rows name, by column."""
    lengths: dict[str, int] = field(default_factory=dict)
    """How many rows have a CoT of so many tokens."""
    makers: list[list[str]] = field(default_factory=list)
    """Models and servers of the rows, in the order of their first row."""
    is_simulated: bool = False
    verdicts: dict[str, int] = field(default_factory=dict)
    """Of the refiner on thoughts."""
    tokens: dict[str, list[int]] = field(default_factory=dict)
    """Of CoTs before and after refinement: their sum, and how many there are."""
    scores: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """By version and metric: their sum, and how many there are."""
    records: list[Any] = field(default_factory=list)
    """Of a table that is kept whole."""

    @property
    def failures(self) -> int:
        return sum(self.failed.values())


def read_facts(
    lake: Lake, table: str, batches: Sequence[str]
) -> dict[str, PartitionFacts]:
    """Read the facts of partitions of a table that are there, by batch.

    Raises:
        SetupError: one of their files is damaged.
    """
    rows = read_together(lake, table, batches, _columns_of(table))
    failures = None
    if rows is not None and table in STAGES:
        failures = read_failures_together(lake, table, batches)
    if rows is None or (failures is None and table in STAGES):
        return _read_one_by_one(lake, table, batches)
    return _facts(lake, table, batches, rows, failures)


def _read_one_by_one(
    lake: Lake, table: str, batches: Sequence[str]
) -> dict[str, PartitionFacts]:
    facts: dict[str, PartitionFacts] = {}
    for batch in batches:
        of_batch = pl.lit(batch).alias(OF_BATCH)
        rows = lake.rows(table, batch, _columns_of(table)).with_columns(of_batch)
        failures = None
        if table in STAGES:
            failures = lake.failures(table, batch).with_columns(of_batch)
        facts |= _facts(lake, table, [batch], rows, failures)
    return facts


def _columns_of(table: str) -> Sequence[str] | None:
    """Return which columns are needed; None for all of them."""
    if table in RECORD_TABLES:
        return None
    if table not in STAGES:
        return ["prompt_id"]
    return [*_COLUMNS, *_more_columns(table)]


def _more_columns(table: str) -> tuple[str, ...]:
    if table == Stage.REFINED_COTS:
        return ("judgements", "deliberated_cot_tokens")
    return ("grades",) if table == Stage.COT_GRADES else ()


def _facts(
    lake: Lake,
    table: str,
    batches: Sequence[str],
    rows: pl.DataFrame,
    failures: pl.DataFrame | None,
) -> dict[str, PartitionFacts]:
    """Return the facts of partitions, by batch; their rows lie below each other."""
    counts = dict(rows.group_by(OF_BATCH).len().iter_rows())
    if table in RECORD_TABLES:
        records = _records(table, rows)
        return {
            batch: PartitionFacts(rows=counts.get(batch, 0), records=records[batch])
            for batch in batches
        }
    if failures is None:
        return {batch: PartitionFacts(rows=counts.get(batch, 0)) for batch in batches}
    failed = _occurrences(failures, "reason")
    usage = _usage(table, batches, rows, failures)
    present = [name for name in _VALUES if name in rows.columns]
    values = {name: _occurrences(rows.drop_nulls(name), name) for name in present}
    lengths = _lengths(rows)
    makers = _makers(rows)
    simulated = _simulated(rows)
    measures = _measures(table, rows)
    return {
        batch: PartitionFacts(
            rows=counts.get(batch, 0),
            fingerprint=lake.fingerprint(table, batch),
            failed=failed[batch],
            usage=usage[batch],
            values={name: list(found[batch]) for name, found in values.items()},
            lengths={str(tokens): count for tokens, count in lengths[batch].items()},
            makers=makers[batch],
            is_simulated=batch in simulated,
            **measures[batch],
        )
        for batch in batches
    }


def _records(table: str, rows: pl.DataFrame) -> Mapping[str, list[Any]]:
    batches = rows[OF_BATCH].to_list()
    records = from_frame(rows.drop(OF_BATCH), RECORD_TABLES[table])
    by_batch: dict[str, list[Any]] = defaultdict(list)
    for batch, record in zip(batches, records, strict=True):
        by_batch[batch].append(record.model_dump(mode="json"))
    return by_batch


def _occurrences(rows: pl.DataFrame, column: str) -> Mapping[str, dict[Any, int]]:
    """Return by batch how often each value occurs, in the order of its first row."""
    counts = rows.group_by(OF_BATCH, column, maintain_order=True).len()
    by_batch: dict[str, dict[Any, int]] = defaultdict(dict)
    for batch, value, count in counts.iter_rows():
        by_batch[batch][value] = count
    return by_batch


def _usage(
    table: str, batches: Sequence[str], rows: pl.DataFrame, failures: pl.DataFrame
) -> Mapping[str, dict[str, float]]:
    if "usage" not in STAGES[Stage(table)].record.model_fields:
        return defaultdict(dict)
    totals = dict.fromkeys(batches, Usage())
    for frame in (rows, failures):
        amounts = frame.select(OF_BATCH, pl.col("usage").struct.unnest())
        sums = amounts.group_by(OF_BATCH).sum()
        for row in sums.iter_rows(named=True):
            batch = row.pop(OF_BATCH)
            # Fields that an older release did not write count 0.
            totals[batch] += Usage(**row)
    return {batch: total.model_dump() for batch, total in totals.items()}


def _lengths(rows: pl.DataFrame) -> Mapping[str, dict[int, int]]:
    for name in _LENGTHS:
        if name in rows.columns:
            return _occurrences(rows.drop_nulls(name), name)
    return defaultdict(dict)


def _makers(rows: pl.DataFrame) -> Mapping[str, list[list[str]]]:
    by_batch: dict[str, list[list[str]]] = defaultdict(list)
    if "model" not in rows.columns:
        return by_batch
    servers = pl.lit("")
    # Rows of an older release name no servers.
    if "servers" in rows.columns:
        servers = pl.col("servers").list.join(", ").fill_null("")
    pairs = rows.select(OF_BATCH, "model", servers.alias("servers"))
    for batch, model, names in pairs.unique(maintain_order=True).iter_rows():
        maker = [model, mask_url_secrets(names)]
        # Servers may differ in nothing but a secret.
        if maker not in by_batch[batch]:
            by_batch[batch].append(maker)
    return by_batch


def _simulated(rows: pl.DataFrame) -> set[str]:
    """Return the batches with a row that the rehearsal engine made."""
    if "simulated" not in rows.columns:
        return set()
    return set(rows.filter("simulated")[OF_BATCH])


def _measures(table: str, rows: pl.DataFrame) -> Mapping[str, dict[str, Any]]:
    if table == Stage.REFINED_COTS:
        return _refinement(rows)
    if table == Stage.COT_GRADES and "grades" in rows.columns:
        return _scores(rows)
    return defaultdict(dict)


def _refinement(rows: pl.DataFrame) -> Mapping[str, dict[str, Any]]:
    measures: dict[str, dict[str, Any]] = defaultdict(dict)
    if not rows.height:
        return measures
    # A row without thoughts has no judgement.
    judgements = rows.select(OF_BATCH, "judgements").explode("judgements").drop_nulls()
    verdict = pl.col("judgements").struct.field("verdict")
    verdicts = _occurrences(judgements.select(OF_BATCH, verdict), "verdict")
    names = ("deliberated_cot_tokens", "cot_tokens")
    sums = [pl.col(name).sum().alias(f"{name} sum") for name in names]
    counts = [pl.col(name).count().alias(f"{name} count") for name in names]
    for row in rows.group_by(OF_BATCH).agg(*sums, *counts).iter_rows(named=True):
        tokens = {name: [row[f"{name} sum"], row[f"{name} count"]] for name in names}
        batch = row[OF_BATCH]
        measures[batch] = {"verdicts": verdicts[batch], "tokens": tokens}
    return measures


def _scores(rows: pl.DataFrame) -> Mapping[str, dict[str, Any]]:
    grades = rows.select(OF_BATCH, "grades").explode("grades").unnest("grades")
    aggregates = []
    for metric in METRICS:
        score = pl.col(metric).struct.field("score")
        aggregates.append(score.sum().alias(f"{metric} sum"))
        aggregates.append(score.count().alias(f"{metric} count"))
    by_version = grades.group_by(OF_BATCH, "version", maintain_order=True)
    scores: dict[str, dict[str, Any]] = defaultdict(lambda: {"scores": {}})
    for row in by_version.agg(aggregates).drop_nulls("version").iter_rows(named=True):
        metrics = {}
        for metric in METRICS:
            metrics[str(metric)] = [row[f"{metric} sum"], row[f"{metric} count"]]
        scores[row[OF_BATCH]]["scores"][row["version"]] = metrics
    return scores
