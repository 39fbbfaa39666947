"""The state of the gates, read without Dagster where that is possible.

Importing Dagster and opening its instance takes about a second of CPU, and `aidsafe status` needs
one table of it. With the storage of the shipped `dagster.yaml` (SQLite) that table is read as it
stands. Any other storage, and any file that looks different from what is expected, is left to
Dagster itself, which gives the same answer.
"""

import glob
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from aidsafe_dagster.lake.half_forgotten import half_forgotten_batches
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.settings.project import storage_folder
from aidsafe_dagster.stages.gate_verdicts import (
    HISTORY_LIMIT,
    CheckResult,
    Gate,
    judge_check,
)

GateReader = Callable[[str, str], Gate]
"""Returns the gate of a stage and a batch."""
CheckKey = tuple[str, str, str]
"""Asset, check and batch, as Dagster writes them."""

_EVENT = "$.dagster_event.event_specific_data"
_RESULT = f"""
    execution_status,
    json_extract(evaluation_event, '{_EVENT}.metadata.fingerprint.text'),
    json_extract(evaluation_event, '$.timestamp')
"""
# Only constants of this module enter the SQL.
_LATEST = f"""
    SELECT asset_key, check_name, partition, {_RESULT}
    FROM asset_check_executions
    WHERE id IN (
        SELECT max(id) FROM asset_check_executions
        WHERE partition IS NOT NULL
        GROUP BY asset_key, check_name, partition
    )
"""  # noqa: S608
_HISTORY = f"""
    SELECT {_RESULT}
    FROM asset_check_executions
    WHERE asset_key = ? AND check_name = ? AND partition = ?
        AND execution_status IN ('SUCCEEDED', 'FAILED')
    ORDER BY id DESC
    LIMIT {HISTORY_LIMIT}
"""  # noqa: S608


@contextmanager
def open_gates(lake: Lake) -> Iterator[GateReader]:
    """Yield a reader of gates, which reads each gate once while the block lasts.

    Raises:
        SetupError: there is no Dagster instance, or it cannot be opened.
    """
    recorded = _read_recorded_checks()
    if recorded is not None:
        with closing(recorded):
            yield cache(partial(recorded.gate, lake))
        return

    from aidsafe_dagster.cli.local_runs import open_instance
    from aidsafe_dagster.stages.gates import read_gate

    with open_instance() as instance:
        yield cache(partial(read_gate, instance, lake))


def _read_recorded_checks() -> "RecordedChecks | None":
    """Return what the event log holds, None if only Dagster can read it."""
    try:
        file = event_log()
        return RecordedChecks(file) if file else None
    except (OSError, ValueError, yaml.YAMLError, sqlite3.Error):
        # Dagster will say what is wrong with it, if anything is.
        return None


class RecordedChecks:
    """The check results in Dagster's event log, which is opened read-only."""

    def __init__(self, file: Path) -> None:
        # Read-only, so that nothing here can block or change what a run writes.
        address = f"{file.as_uri()}?mode=ro"
        self._database = sqlite3.connect(address, uri=True)
        self._latest: dict[CheckKey, CheckResult | None] = {}
        self._half_forgotten: frozenset[str] | None = None
        # All at once: a query per check would take longer than the rest of the command.
        records = self._database.execute(_LATEST)
        for asset, check, batch, *result in records:
            key = (asset, check, batch)
            self._latest[key] = _check_result(result)

    def close(self) -> None:
        self._database.close()

    def gate(self, lake: Lake, stage: str, batch: str) -> Gate:
        """Return the verdicts of the stage's checks on the batch as it lies in the lake."""
        fingerprint = lake.fingerprint(stage, batch)
        # Dagster writes an asset key as a JSON list.
        asset = json.dumps([str(stage)])
        verdicts = {}
        for suite in stage_named(stage).suites:
            key = (asset, suite, batch)
            latest = self._latest.get(key)
            verdicts[suite] = judge_check(
                latest, partial(self._history, key), fingerprint
            )
        if self._half_forgotten is None:
            # All at once too: a look for each stage of each batch adds up.
            self._half_forgotten = frozenset(half_forgotten_batches(lake))
        return Gate(stage, batch, verdicts, batch in self._half_forgotten)

    def _history(self, key: CheckKey) -> Iterable[CheckResult]:
        for columns in self._database.execute(_HISTORY, key):
            result = _check_result(columns)
            if result is not None:
                yield result


def event_log() -> Path | None:
    """Return the SQLite file of Dagster's event log, None if the instance keeps it elsewhere."""
    home = Path(os.environ.get("DAGSTER_HOME") or Path.cwd())
    # Dagster refuses such a folder, and says why.
    if glob.has_magic(str(home)) or not home.is_absolute():
        return None
    config = yaml.safe_load((home / "dagster.yaml").read_text("utf-8"))
    base_dir = storage_folder(config)
    # Events may be kept apart from the rest.
    if base_dir is None or "event_log_storage" in config:
        return None
    # A relative path is relative to the folder that Dagster is started in.
    file = Path(base_dir, "history", "runs", "index.db").absolute()
    return file if file.exists() else None


def _check_result(columns: Iterable[Any]) -> CheckResult | None:
    """Return the result in a row, None while the check is only planned."""
    status, fingerprint, timestamp = columns
    if status not in ("SUCCEEDED", "FAILED") or timestamp is None:
        return None
    return CheckResult(status == "SUCCEEDED", fingerprint, timestamp)
