"""The warehouse: a DuckDB file of views over the lake, the analyst's way in.

Runs write Parquet and never this file, so an open session neither blocks a run nor is blocked by
one, and a view is always current. The file itself is replaced by an atomic write. Over an object
store, which a plain DuckDB session cannot read, it holds tables copied when it was built instead.
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

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of, to_frame
from aidsafe_dagster.lake.translations import translated_prompts
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    METRICS,
    Failure,
    Metric,
    Prompt,
    Record,
    TriedBelief,
)
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.recipe.templates import TRANSLATIONS
from aidsafe_dagster.recipe.translation import TranslatedRow
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.selection.records import SelectionRow
from aidsafe_dagster.selection.store import FOLDER as SELECTIONS
from aidsafe_dagster.selection.store import ROWS as ROWS_OF_SELECTION
from aidsafe_dagster.sources.rejection import DroppedPrompt

_TABLES_BESIDE_STAGES: Mapping[str, type[Record]] = {
    "ingested": Prompt,
    "dropped_prompts": DroppedPrompt,
    BELIEF_CANDIDATES: TriedBelief,
}
_LINEAGE = "batch, prompt_id, own_id, source, category, simulated, policies_version, prompt_kind"
_FAITHFUL: tuple[Metric, ...] = (
    "policy_to_cot",
    "policy_to_response",
    "response_to_cot",
)
_SCORES = ", ".join(f"one.{metric}.score AS {metric}" for metric in METRICS)
_REASONS = ", ".join(f"one.{metric}.reason AS {metric}_reason" for metric in METRICS)
_PLACES = ", ".join(
    f"one.{metric}.rule AS {metric}_rule, one.{metric}.thought AS {metric}_thought"
    for metric in _FAITHFUL
)
_UNNESTED = {
    "grades": (
        "cot_grades",
        "grades",
        "one.version, one.judge, one.model AS judge_model, "
        f"{_SCORES}, one.refusal, {_REASONS}, {_PLACES}",
    ),
    "comparisons": (
        "cot_grades",
        "comparisons",
        "one.version, one.against, one.judge, one.model AS judge_model, "
        "one.outcome, one.consistent, one.reasons",
    ),
}
"""Views with a line per grade and comparison: (table, list column, fields of each item)."""
_SPLIT_COLUMNS = {
    "sft": "messages, thinking, response",
    "dpo": "prompt, chosen, rejected",
}


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Builds and opens the warehouse of the settings."""

    settings: dg.ResourceDependency[SettingsResource]

    def build(self, lake: Lake) -> Path:
        """Build the file: a view per table, and views made from them (`accounting`, `grades`, …).

        Raises:
            SetupError: the disk is full, or a file of the lake is damaged.
        """
        target = self.settings.snapshot.settings.warehouse
        with atomic_write(target) as temporary:
            try:
                database = DuckDBResource(database=str(temporary)).get_connection()
                # The resource leaves the connection open after an error.
                with database as connection, closing(connection):
                    create_views(connection, lake)
            except duckdb.Error as error:
                raise SetupError(
                    f"{target}: cannot be built ({error}). "
                    "If a file of the lake is damaged, make its batch again"
                ) from error
        return target


def create_views(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Create all views of the warehouse in any DuckDB connection."""
    tables = {name: definition.record for name, definition in STAGES.items()}
    for name, record in {**tables, **_TABLES_BESIDE_STAGES}.items():
        # DuckDB makes no view of files that do not exist, and a new lake has no rows yet.
        lake.ensure_schema(name, record)
        pattern = f"{name}/*/rows.parquet"
        _create(connection, lake, name, pattern, partial(lake.all_rows, name), record)
    _create(
        connection, lake, "failures", "*/*/failures.parquet", lake.all_failures, Failure
    )
    _create_selection(connection, lake)
    _create_translations(connection, lake)
    connection.execute(_accounting_view())
    for name, (table, items, columns) in _UNNESTED.items():
        connection.execute(
            f"CREATE VIEW {name} AS SELECT {_LINEAGE}, {columns} "
            f"FROM (SELECT *, unnest({items}) AS one FROM {table})"
        )
    for kind, columns in _SPLIT_COLUMNS.items():
        connection.execute(
            f"CREATE VIEW {kind} AS SELECT {columns}, split, prompt_id, own_id, source, licence, "
            f"simulated FROM fine_tune_splits WHERE kind = '{kind}'"
        )


def _create_selection(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Create a view of the selection in force: what became of each candidate, and why."""
    own = lake.inner(SELECTIONS)
    own.ensure_schema(ROWS_OF_SELECTION, SelectionRow)
    read = partial(own.all_rows, ROWS_OF_SELECTION)
    # A selection puts the one before out of force, so there is one.
    pattern = f"{ROWS_OF_SELECTION}/*/rows.parquet"
    _create(connection, own, "selection", pattern, read, SelectionRow)


def _create_translations(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Create a view of the translations into all languages, whether or not they still hold."""
    lake.ensure_schema(TRANSLATIONS, TranslatedRow)
    pattern = f"{TRANSLATIONS}*/*/rows.parquet"

    def read() -> pl.DataFrame:
        return to_frame(list(translated_prompts(lake)), TranslatedRow)

    _create(connection, lake, TRANSLATIONS, pattern, read, TranslatedRow)


def _accounting_view() -> str:
    """Count rows made and failed. The names in it come from our table, never from a user."""
    counts = []
    for place, stage in enumerate(STAGES):
        counts.append(
            f"SELECT {place} AS place, '{stage}' AS stage, batch, 1 AS made, 0 AS failed "
            f"FROM {stage}"
        )
        counts.append(
            f"SELECT {place}, '{stage}', batch, 0, 1 FROM failures WHERE stage = '{stage}'"
        )
    return (
        "CREATE VIEW accounting AS "
        "SELECT batch, stage, sum(made)::BIGINT AS rows, sum(failed)::BIGINT AS failed "
        f"FROM ({' UNION ALL '.join(counts)}) "
        "GROUP BY batch, place, stage ORDER BY batch, place"
    )


def _create(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    name: str,
    pattern: str,
    read: Callable[[], pl.DataFrame | None],
    record: type[Record],
) -> None:
    """Create a view of the files where DuckDB can read them in place, else a table from `read`."""
    if lake.local:
        # The lake's own path may hold characters that mean something in a pattern.
        folder = re.sub(r"([\[*?])", r"[\1]", str(lake.root))
        files = f"{folder}/{pattern}".replace("'", "''")
        # Union by name, because files of an older release lack columns.
        source = (
            f"read_parquet('{files}', hive_partitioning = false, union_by_name = true)"
        )
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {source}")
        return
    frame = read()
    if frame is None:
        frame = pl.DataFrame(schema=schema_of(record))
    connection.register("frame", frame.to_arrow())
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
    connection.unregister("frame")
