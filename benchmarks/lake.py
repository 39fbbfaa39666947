"""A lake of a thousand batches: how long status, viewer and comparison take.

The batches are copies of one that the rehearsal engine made: every file of the lake under another
key with other ids, the partition in Dagster, and its check results on the bytes of the copy.
"""

import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from aidsafe_dagster.lake.kept_versions import keep_version
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES
from benchmarks.options import Options, Section
from benchmarks.site import aidsafe
from tests.site import Site, a_site, prompts_file, some_prompts
from tests.viewer.many_rows import copied_rows
from tests.viewer.serving import Viewer, a_viewer

_BATCHES = 1_000
_BATCH_ROWS = 20
_REPEATS = 3
_FIRST = "mine-0001"
_OF_THIS_MACHINE = ("row_index",)
_COPIED_CHECKS = """
INSERT INTO asset_check_executions (asset_key, check_name, partition, run_id,
    execution_status, evaluation_event, evaluation_event_timestamp,
    evaluation_event_storage_id, materialization_event_storage_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_COPIED_EVENTS = """
INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key,
    partition)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def make_lake(folder: Path, batches: int, rows: int) -> None:
    """Make a project in a folder with so many finished batches of so many rows."""
    with a_site(folder, ingest={"batch_size": rows}) as site:
        source = prompts_file(folder, some_prompts(rows))
        assert site.ingest(source).success
        run = site.make(_FIRST)
        assert run.success, run.error
        copies = {f"mine-{number:04d}": number for number in range(2, batches + 1)}
        _copy_files(site.lake, copies)
        site.instance.add_dynamic_partitions("batches", list(copies))
        _copy_events(site, list(copies))


def _copy_files(lake: Lake, copies: dict[str, int]) -> None:
    for table in lake.tables():
        if table in _OF_THIS_MACHINE or not lake.has(table, _FIRST):
            continue
        rows = lake.rows(table, _FIRST)
        failures = lake.failures(table, _FIRST) if table in STAGES else None
        for key, number in copies.items():
            failed = None
            if failures is not None:
                failed = copied_rows(failures, key, number)
            lake.write(table, key, _copied(rows, key, number), failed)


def _copied(rows: pl.DataFrame, key: str, number: int) -> pl.DataFrame:
    if "prompt_id" not in rows.columns:
        return rows.with_columns(batch=pl.lit(key))
    return copied_rows(rows, key, number)


def _copy_events(site: Site, keys: Sequence[str]) -> None:
    file = site.folder / "data" / "dagster" / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(file)) as database:
        checks = database.execute(
            "SELECT asset_key, check_name, run_id, execution_status, evaluation_event, "
            "evaluation_event_timestamp, evaluation_event_storage_id, "
            "materialization_event_storage_id FROM asset_check_executions WHERE partition = ?",
            (_FIRST,),
        ).fetchall()
        events = database.execute(
            "SELECT run_id, event, dagster_event_type, timestamp, step_key, asset_key "
            "FROM event_logs WHERE partition = ?",
            (_FIRST,),
        ).fetchall()
        for key in keys:
            database.executemany(_COPIED_CHECKS, _checks_of(site.lake, checks, key))
            copies = []
            for run_id, event, *rest in events:
                copies.append((run_id, event.replace(_FIRST, key), *rest, key))
            database.executemany(_COPIED_EVENTS, copies)
        database.commit()


def _checks_of(
    lake: Lake, checks: Sequence[Any], key: str
) -> Iterator[tuple[object, ...]]:
    for asset, check, run_id, status, event, *rest in checks:
        (stage,) = json.loads(asset)
        said = json.loads(event.replace(_FIRST, key))
        # A check that is only planned, such as of a stage that is off, has none.
        metadata = said["dagster_event"]["event_specific_data"].get("metadata", {})
        if "fingerprint" in metadata:
            metadata["fingerprint"]["text"] = lake.fingerprint(stage, key)
        yield asset, check, key, run_id, status, json.dumps(said), *rest


def run(options: Options) -> Section:
    batches = options.rows or _BATCHES
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "site"
        make_lake(folder, batches, _BATCH_ROWS)
        lines = list(_measured(folder))
    return Section(
        f"A lake of {batches:,} batches",
        f"Of {_BATCH_ROWS} prompts each, copies of one that the rehearsal engine made. Commands "
        f"are whole processes, from their start to their end; the first one of its kind reads the "
        f"lake, later ones ({_REPEATS}, median) what did not change from its index.",
        ("what", "s, first", "s, later", "CPU s, first", "CPU s, later"),
        lines,
    )


def _measured(folder: Path) -> Iterator[tuple[object, ...]]:
    yield _command(folder, "status")
    home = folder / "data"
    lake = Lake(home / "lake")
    prompt = lake.rows("ingested", _FIRST)["prompt_id"][0]
    times = []
    for _ in range(1 + _REPEATS):
        started = time.monotonic()
        with a_viewer(home) as viewer:
            times.append(time.monotonic() - started)
            pages = {
                "first page": _often(viewer, "/rows"),
                "one row": _often(viewer, f"/prompt/{prompt}"),
            }
    first, *later = times
    figures = (f"{first:.1f}", f"{median(later):.1f}")
    yield "aidsafe view: the index of all rows", *figures, "–", "–"
    for name, (first, *later) in pages.items():
        figures = (f"{first:.2f}", f"{median(later):.2f}")
        yield f"aidsafe view: {name}", *figures, "–", "–"
    _change_first(lake)
    yield _command(folder, "compare")


def _often(viewer: Viewer, path: str) -> list[float]:
    """Return the seconds of the first question and of some more."""
    times = []
    for _ in range(1 + _REPEATS):
        started = time.monotonic()
        reply = viewer.get(path)
        times.append(time.monotonic() - started)
        assert reply.status == 200, reply.text
    return times


def _change_first(lake: Lake) -> None:
    """Keep the first batch as it was, and give it other responses."""
    stage = Stage.REFINED_COTS
    changes = ["templates changed"]
    keep_version(lake, _FIRST, stage, changes=changes, currency="", limit=3)
    rows = lake.rows(stage, _FIRST)
    changed = rows.with_columns(pl.col("response") + " Take care.")
    lake.write(stage, _FIRST, changed, lake.failures(stage, _FIRST))


def _command(folder: Path, *arguments: str) -> tuple[object, ...]:
    runs = [aidsafe(folder, *arguments) for _ in range(1 + _REPEATS)]
    first, *later = runs
    return (
        f"aidsafe {' '.join(arguments)}",
        f"{first.seconds:.1f}",
        f"{median(run.seconds for run in later):.1f}",
        f"{first.cpu_s:.1f}",
        f"{median(run.cpu_s for run in later):.1f}",
    )
