"""What `aidsafe status` shows of a partition, read from its files once.

All of it is small and adds up: counts, sums, and how often each length occurs, from which every
figure over a whole lake follows exactly. So a lake of a thousand batches need not be read again.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from aidsafe_dagster.lake.batch_recipes import RECIPES
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import SPLIT_INPUTS
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.fine_tune_splits import SplitInputs
from aidsafe_dagster.recipe.records import METRICS, Record, Stage
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.cost import total_usage

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


def read_facts(lake: Lake, table: str, batch: str) -> PartitionFacts:
    """Read the facts of a partition that is there.

    Raises:
        SetupError: one of its files is damaged.
    """
    if table in RECORD_TABLES:
        records = lake.records(table, batch, RECORD_TABLES[table])
        kept = [record.model_dump(mode="json") for record in records]
        return PartitionFacts(rows=len(kept), records=kept)
    if table not in STAGES:
        return PartitionFacts(rows=lake.rows(table, batch, ["prompt_id"]).height)
    more = _more_columns(table)
    rows = lake.rows(table, batch, [*_COLUMNS, *more])
    failures = lake.failures(table, batch)
    return PartitionFacts(
        rows=rows.height,
        fingerprint=lake.fingerprint(table, batch),
        failed=dict(Counter(failures["reason"].to_list())),
        usage=_usage(table, rows, failures),
        values={name: _values(rows, name) for name in _VALUES if name in rows.columns},
        lengths=_lengths(rows),
        makers=_makers(rows),
        is_simulated="simulated" in rows.columns and bool(rows["simulated"].any()),
        **_measures(table, rows),
    )


def _more_columns(table: str) -> tuple[str, ...]:
    if table == Stage.REFINED_COTS:
        return ("judgements", "deliberated_cot_tokens")
    return ("grades",) if table == Stage.COT_GRADES else ()


def _usage(table: str, rows: pl.DataFrame, failures: pl.DataFrame) -> dict[str, float]:
    if "usage" not in STAGES[Stage(table)].record.model_fields:
        return {}
    return (total_usage(rows) + total_usage(failures)).model_dump()


def _values(rows: pl.DataFrame, column: str) -> list[str]:
    return rows[column].drop_nulls().unique(maintain_order=True).to_list()


def _lengths(rows: pl.DataFrame) -> dict[str, int]:
    present = [name for name in _LENGTHS if name in rows.columns]
    if not present:
        return {}
    counts = Counter(rows[present[0]].drop_nulls().to_list())
    return {str(tokens): count for tokens, count in counts.items()}


def _makers(rows: pl.DataFrame) -> list[list[str]]:
    if "model" not in rows.columns:
        return []
    # Rows of an older release name no servers.
    present = [name for name in ("model", "servers") if name in rows.columns]
    makers: dict[tuple[str, str], None] = {}
    for row in rows.select(present).iter_rows(named=True):
        servers = mask_url_secrets(", ".join(row.get("servers") or ()))
        makers[row["model"], servers] = None
    return [list(pair) for pair in makers]


def _measures(table: str, rows: pl.DataFrame) -> dict[str, Any]:
    if table == Stage.REFINED_COTS and rows.height:
        # A row without thoughts has no judgement.
        judgements = rows["judgements"].explode().drop_nulls()
        verdicts = judgements.struct.field("verdict").to_list()
        tokens = {}
        for name in ("deliberated_cot_tokens", "cot_tokens"):
            column = rows[name].drop_nulls()
            tokens[name] = [int(column.sum()), len(column)]
        return {"verdicts": dict(Counter(verdicts)), "tokens": tokens}
    if table == Stage.COT_GRADES and "grades" in rows.columns and rows.height:
        return {"scores": _scores(rows)}
    return {}


def _scores(rows: pl.DataFrame) -> dict[str, dict[str, list[int]]]:
    grades = rows.select("grades").explode("grades").unnest("grades")
    aggregates = []
    for metric in METRICS:
        score = pl.col(metric).struct.field("score")
        aggregates.append(score.sum().alias(f"{metric} sum"))
        aggregates.append(score.count().alias(f"{metric} count"))
    scores = {}
    by_version = grades.group_by("version", maintain_order=True)
    for row in by_version.agg(aggregates).drop_nulls("version").iter_rows(named=True):
        metrics = {}
        for metric in METRICS:
            metrics[str(metric)] = [row[f"{metric} sum"], row[f"{metric} count"]]
        scores[row["version"]] = metrics
    return scores
