"""What a batch consists of, and its removal.

The partition's key goes last. Until then the same command finds the batch again, so a removal that
was cut off is finished by starting it once more. From the first file on the batch is marked as half
forgotten: its gates are closed, and `aidsafe status` and the UI say so.

Prompts of other batches stay in the clusters that they are in: a cluster has the id of a prompt,
and needs no row of that id. So what was held out stays held out.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import polars as pl
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.chosen_batches import source_of
from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_problem,
    quantity,
)
from aidsafe_dagster.cli.demo import DEMO_FOLDER
from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.lake.half_forgotten import half_forgotten_batches, mark, unmark
from aidsafe_dagster.lake.kept_versions import (
    discard_versions,
    versions_of,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.runs.locks import batch_lock, ingestion_lock
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import COPIES, DROPPED, INGESTED
from aidsafe_dagster.stages.partitions import batches as partitions

_PARTITION_TAG = "dagster/partition"
_LAST_REMOVED = (COPIES, INGESTED)
"""They say which prompts a batch has."""
_ID = re.compile(rb"\b[0-9a-f]{16}\b")
"""A prompt's, wherever JSON has it."""


def batches_of(instance: dg.DagsterInstance, lake: Lake, name: str) -> list[str]:
    """Return the batches that a name means: one batch, or all of a source.

    Raises:
        SetupError: there is neither a batch nor a source of that name; names the nearest.
    """
    assert partitions.name is not None
    known = {*instance.get_dynamic_partitions(partitions.name)}
    known.update(half_forgotten_batches(lake))
    for table in lake.tables():
        if table != DROPPED:
            known.update(lake.batches(table))
    if name in known:
        return [name]
    batches = [batch for batch in known if source_of(batch) == name]
    dropped = lake.all_rows(DROPPED, ["source"])
    sources = {source_of(batch) for batch in known}
    if dropped is not None:
        sources.update(dropped["source"])
    if name not in sources:
        raise unknown("batch or source", name, [*known, *sources], "forget")
    return sorted(batches)


def print_holdings(
    instance: dg.DagsterInstance,
    lake: Lake,
    settings: Settings,
    batches: Sequence[str],
    *,
    answers: bool,
) -> None:
    """Print what would be removed, and what holds rows of it and stays."""
    table = Table("table", "batches", "rows", "failed", title="To be removed")
    for name in lake.tables():
        present = [batch for batch in batches if lake.has(name, batch)]
        if present:
            rows = sum(_height(lake, name, batch) for batch in present)
            failed = sum(_failed(lake, name, batch) for batch in present)
            table.add_row(Text(name), str(len(present)), str(rows), str(failed or "·"))
    console.print(table)
    print_paragraph(f"Batches: {', '.join(batches) or 'none; only its dropped rows'}")
    versions = sum(len(versions_of(lake, batch)) for batch in batches)
    if versions:
        print_paragraph(
            f"Kept for comparisons: {quantity(versions, 'earlier version')}"
        )
    runs = sum(len(_runs_of(instance, batch)) for batch in batches)
    print_paragraph(
        f"In Dagster: {quantity(len(batches), 'partition')}, with its history "
        f"in {quantity(runs, 'run')}"
    )
    kept = "are removed too" if answers else "stay (--answers removes them)"
    print_paragraph(f"Its answers in the journal {kept}.")
    prompt_ids = _prompt_ids(lake, batches)
    files_with_rows = _files_with(settings, lake, prompt_ids)
    holders = Counter(_whole_of(file, settings.home) for file in files_with_rows)
    for folder, count in sorted(holders.items()):
        files = quantity(count, "file")
        print_paragraph(
            f"Holds rows of it, and is not touched: {files} in {shown(folder)}"
        )
    adapters = settings.home / "adapters"
    if adapters.exists():
        print_paragraph(f"May be trained on it, and is not touched: {shown(adapters)}")


@contextmanager
def held(
    instance: dg.DagsterInstance, settings: Settings, batches: Sequence[str]
) -> Iterator[None]:
    """Keep runs and ingestions away while the block lasts.

    Raises:
        SetupError: a run works on one of the batches, or on all that there are.
    """
    report_dead_runs(instance)
    holder = f"process {os.getpid()} (aidsafe forget)"
    locks = [ingestion_lock(settings)]
    locks += [batch_lock(batch, settings) for batch in batches]
    with ExitStack() as stack:
        for lock in locks:
            try:
                stack.enter_context(lock.hold(holder, timeout_s=0))
            except TimeoutError as error:
                raise SetupError(
                    f"{lock.name} is in use by {lock.holder() or 'another process'}; "
                    "nothing was removed. Try again once it is over"
                ) from error
        # With the locks in hand: whatever begins now waits for them.
        _refuse_open_runs(instance, batches)
        yield


def forget_batches(
    instance: dg.DagsterInstance,
    lake: Lake,
    settings: Settings,
    name: str,
    batches: Sequence[str],
    *,
    answers: bool,
) -> None:
    """Remove everything of these batches, and of a source what it had dropped."""
    prompt_ids = _prompt_ids(lake, batches)
    if answers and prompt_ids:
        journal = Journal(settings.journal)
        try:
            removed = journal.forget(prompt_ids)
        finally:
            journal.close()
        print_paragraph(f"Removed from the journal: {quantity(removed, 'answer')}")
    _forget_dropped_rows(lake, name, prompt_ids)
    for batch in batches:
        mark(lake, batch)
        # First, so that the UI shows no stage as made of which the rows are gone.
        _forget_runs(instance, batch)
        discard_versions(lake, batch)
        # What rests on a stage goes before the stage.
        for table in [*reversed(_tables_before_last(lake)), *_LAST_REMOVED]:
            lake.remove(table, batch)
        # Before the key: one that is ingested anew is not half forgotten.
        unmark(lake, batch)
        _forget_partition(instance, batch)


def rebuild_reports(instance: dg.DagsterInstance) -> bool:
    """Build warehouse and reports anew, without what is gone."""
    run = run_job(instance, "build_reports")
    if not run.success:
        print_problem("✗ reports", run.error)
    return run.success


def _tables_before_last(lake: Lake) -> list[str]:
    stages = [str(stage) for stage in STAGES]
    others = []
    for table in lake.tables():
        if table not in (*stages, *_LAST_REMOVED, DROPPED):
            others.append(table)
    return [*stages, *others]


def _height(lake: Lake, table: str, batch: str) -> int:
    try:
        return lake.rows(table, batch).height
    except SetupError:
        # A damaged file is removed like any other.
        return 0


def _failed(lake: Lake, table: str, batch: str) -> int:
    try:
        return lake.failures(table, batch).height
    except SetupError:
        return 0


def _prompt_ids(lake: Lake, batches: Sequence[str]) -> list[str]:
    ids: set[str] = set()
    for batch in batches:
        for table in _LAST_REMOVED:
            try:
                ids.update(lake.rows(table, batch, ["prompt_id"])["prompt_id"])
            except SetupError:
                continue
    return sorted(ids)


def _forget_dropped_rows(lake: Lake, name: str, prompt_ids: Sequence[str]) -> None:
    """Remove the account of rows that were dropped from the source, or for these prompts.

    The next ingestion sees them with new eyes.
    """
    of_these = pl.col("detail").str.extract(r"duplicate of (\S+)").is_in(prompt_ids)
    is_gone = (pl.col("source") == name) | of_these.fill_null(value=False)
    for key in lake.batches(DROPPED):
        rows = lake.rows(DROPPED, key)
        kept = rows.filter(~is_gone)
        if kept.is_empty():
            lake.remove(DROPPED, key)
        elif kept.height < rows.height:
            lake.write(DROPPED, key, kept)


def _forget_runs(instance: dg.DagsterInstance, batch: str) -> None:
    """Delete the runs of a batch, with every event of theirs."""
    for run in _runs_of(instance, batch):
        instance.delete_run(run.run_id)
    for stage in STAGES:
        # It remembers which partitions were made.
        instance.event_log_storage.wipe_asset_cached_status(dg.AssetKey(str(stage)))


def _forget_partition(instance: dg.DagsterInstance, batch: str) -> None:
    assert partitions.name is not None
    instance.delete_dynamic_partition(partitions.name, batch)


def _runs_of(instance: dg.DagsterInstance, batch: str) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(tags={_PARTITION_TAG: batch}))


def _refuse_open_runs(instance: dg.DagsterInstance, batches: Sequence[str]) -> None:
    open_statuses = [
        status
        for status in dg.DagsterRunStatus
        if status
        not in (
            dg.DagsterRunStatus.SUCCESS,
            dg.DagsterRunStatus.FAILURE,
            dg.DagsterRunStatus.CANCELED,
        )
    ]
    for run in instance.get_runs(dg.RunsFilter(statuses=open_statuses)):
        partition = run.tags.get(_PARTITION_TAG)
        # A run without a batch may read all of them.
        if partition is None or partition in batches:
            raise SetupError(
                f"run {run.run_id[:8]} ({run.job_name}, {run.status.value.lower()}) works with "
                "these rows; nothing was removed. Try again once it is over"
            )


def _files_with(
    settings: Settings, lake: Lake, prompt_ids: Sequence[str]
) -> Iterator[Path]:
    """Yield the files of the project, outside its lake, that have rows of these prompts.

    Exports, published versions and tryouts, that is. Other forms than Parquet and JSON are not
    looked at.
    """
    # The demo is a project of its own.
    other = {settings.reports.resolve(), DEMO_FOLDER.resolve()}
    if lake.local:
        other.add(Path(str(lake.root)).resolve())
    # The home may lie in the project's folder, and either may be reached through a link.
    places = {Path.cwd().resolve(), settings.home.resolve()}
    for place in sorted(places):
        if not places.isdisjoint(place.parents):
            continue
        for name, subfolders, files in os.walk(place):
            folder = Path(name)
            subfolders[:] = [
                subfolder
                for subfolder in subfolders
                if not subfolder.startswith(".") and folder / subfolder not in other
            ]
            for file in files:
                if _has_any(folder / file, prompt_ids):
                    yield folder / file


def _whole_of(file: Path, home: Path) -> Path:
    """Return the folder of an export; of what lies in the home, that of the version or tryout."""
    home = home.resolve()
    if not file.is_relative_to(home):
        return file.parent
    inside = file.relative_to(home).parts[:-1]
    return home.joinpath(*inside[:2])


def _has_any(file: Path, prompt_ids: Sequence[str]) -> bool:
    if file.suffix == ".parquet":
        return _has_any_row(file, prompt_ids)
    if file.suffix not in (".json", ".jsonl"):
        return False
    wanted = {prompt_id.encode() for prompt_id in prompt_ids}
    try:
        with file.open("rb") as lines:
            return any(not wanted.isdisjoint(_ID.findall(line)) for line in lines)
    except OSError:
        return False


def _has_any_row(file: Path, prompt_ids: Sequence[str]) -> bool:
    try:
        frame = pl.scan_parquet(file)
        if "prompt_id" not in frame.collect_schema():
            return False
        found = frame.filter(pl.col("prompt_id").is_in(prompt_ids)).head(1).collect()
    except (pl.exceptions.PolarsError, OSError):
        return False
    return found.height > 0
