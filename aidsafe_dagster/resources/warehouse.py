"""The warehouse: a DuckDB file of views over the lake, the analyst's door.

Runs write Parquet and never this file, so an open session neither blocks a run nor is blocked by one, and what a view
shows is always current. The file itself is built beside the old one and renamed over it. Over an object store, which a
plain DuckDB session cannot read, it holds tables copied at the time of building instead.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
from dagster_duckdb import DuckDBResource

from aidsafe_dagster.lake.lake import RECORDS, Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import METRICS, Failure, Metric, Prompt, Record, Stage
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.sources.ingestion import DroppedPrompt

_TABLES: Mapping[str, type[Record]] = {
    **{str(stage): record for stage, record in RECORDS.items()},
    "ingested": Prompt,
    "dropped_prompts": DroppedPrompt,
}
_LINEAGE = "batch, prompt_id, source, category, simulated, policies_version, prompt_kind"
_FAITHFUL: tuple[Metric, ...] = ("policy_to_cot", "policy_to_response", "response_to_cot")
_SCORES = ", ".join(f"one.{metric}.score AS {metric}" for metric in METRICS)
_REASONS = ", ".join(f"one.{metric}.reason AS {metric}_reason" for metric in METRICS)
_PLACES = ", ".join(
    f"one.{metric}.{part} AS {metric}_{part}"
    for metric in _FAITHFUL
    for part in ("rule", "thought")
)
_UNNESTED = {
    "grades": (
        "cot_grades",
        "grades",
        f"one.version, one.judge, one.model AS judge_model, {_SCORES}, one.refusal, {_REASONS}, {_PLACES}",
    ),
    "comparisons": (
        "cot_grades",
        "comparisons",
        "one.version, one.against, one.judge, one.model AS judge_model, one.outcome, one.consistent, one.reasons",
    ),
    "candidates": (
        "preference_pairs",
        "candidates",
        "kind, one.iteration, one.number, one.belief, one.score, one.note, one.belief = belief AS in_pair",
    ),
}
"""Views with a line per grade, comparison and belief tried: of which table, which column, with which fields."""
_SPLIT_COLUMNS = {"sft": "messages, thinking, response", "dpo": "prompt, chosen, rejected"}


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Builds and opens the warehouse of the settings."""

    settings: dg.ResourceDependency[SettingsResource]

    def build(self, lake: Lake) -> Path:
        """Makes the file anew, with a view per table, and what is made of them: `accounting`, `grades`, `sft`, …

        Raises:
            SetupError: the disk is full, or a file of the lake is damaged.
        """
        target = self.settings.load().warehouse
        with atomic_write(target) as beside:
            try:
                opened = DuckDBResource(database=str(beside)).get_connection()
                with (
                    opened as connection,
                    closing(connection),
                ):  # by itself it stays open after an error
                    create_views(connection, lake)
            except duckdb.Error as error:
                raise SetupError(
                    f"{target}: cannot be built ({error}). If a file of the lake is damaged, make its batch again"
                ) from error
        return target


def create_views(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """All views of the warehouse, in any DuckDB connection."""
    for name, record in _TABLES.items():
        lake.put_schema(name, record)
        _create(
            connection, lake, name, f"{name}/*/rows.parquet", partial(lake.all_rows, name), record
        )
    _create(
        connection, lake, "failures", "*/*/failures.parquet", partial(_all_failures, lake), Failure
    )
    stages = " UNION ALL ".join(  # the names are our own, never a user's
        f"SELECT {n} AS place, '{stage}' AS stage, batch, 1 AS made, 0 AS failed FROM {stage}"
        f" UNION ALL SELECT {n}, '{stage}', batch, 0, 1 FROM failures WHERE stage = '{stage}'"
        for n, stage in enumerate(Stage)
    )
    connection.execute(
        "CREATE VIEW accounting AS SELECT batch, stage, sum(made)::BIGINT AS rows, sum(failed)::BIGINT AS failed "
        f"FROM ({stages}) GROUP BY batch, place, stage ORDER BY batch, place"
    )
    for name, (table, items, columns) in _UNNESTED.items():
        connection.execute(
            f"CREATE VIEW {name} AS SELECT {_LINEAGE}, {columns} FROM (SELECT *, unnest({items}) AS one FROM {table})"
        )
    for kind, columns in _SPLIT_COLUMNS.items():
        connection.execute(
            f"CREATE VIEW {kind} AS SELECT {columns}, split, prompt_id, source, licence, simulated "
            f"FROM fine_tune_splits WHERE kind = '{kind}'"
        )


def _all_failures(lake: Lake) -> pl.DataFrame | None:
    failures = [lake.failures(stage, batch) for stage in RECORDS for batch in lake.batches(stage)]
    return pl.concat(failures, how="diagonal_relaxed") if failures else None


def _create(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    name: str,
    pattern: str,
    read: Callable[[], pl.DataFrame | None],
    record: type[Record],
) -> None:
    """A view of the files where DuckDB can read them in place, else a table of what `read` returns."""
    if lake.local:
        literal = re.sub(r"([\[*?])", r"[\1]", str(lake.root))  # the lake's own path is no pattern
        files = f"{literal}/{pattern}".replace("'", "''")
        # files of an older release lack columns
        found = f"read_parquet('{files}', hive_partitioning = false, union_by_name = true)"
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {found}")
        return
    rows = read()
    frame = pl.DataFrame(schema=schema_of(record)) if rows is None else rows
    connection.register("frame", frame.to_arrow())
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
    connection.unregister("frame")
