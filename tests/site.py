"""A project folder for a test: the shipped dagster.yaml, settings, an instance and a lake."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from traceback import format_exception
from typing import Any

import dagster as dg
import polars as pl
from rich.console import Console
from typer.testing import CliRunner

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings

ROOT = Path(__file__).parent.parent
NO_FAULTS = {
    name: 0.0
    for name, field in RehearsalSettings.model_fields.items()
    if field.default not in (0, 0.0)
}
"""Settings of a rehearsal engine that plants no fault."""


@dataclass(frozen=True)
class Site:
    """The process works in `folder` while the site is open."""

    folder: Path
    instance: dg.DagsterInstance

    @property
    def settings(self) -> Settings:
        return load_settings(self.folder).settings

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @property
    def batches(self) -> list[str]:
        return sorted(self.instance.get_dynamic_partitions("batches"))

    def ingest(self, *sources: dict[str, Any]) -> BatchRun:
        config = {"ops": {"ingest_prompts": {"config": {"sources": list(sources)}}}}
        return run_job(self.instance, "ingest_sources", config=config)

    def make(self, batch: str, config: dict[str, Any] | None = None) -> BatchRun:
        return run_job(self.instance, "make_batch", partition=batch, config=config)

    def metadata(self, stage: str, batch: str) -> dict[str, Any]:
        """Return the metadata of the latest materialization."""
        records = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(stage), asset_partitions=[batch]
        )
        latest = self.instance.fetch_materializations(records, limit=1).records[0]
        assert latest.asset_materialization is not None
        return {
            key: value.value
            for key, value in latest.asset_materialization.metadata.items()
        }


@contextmanager
def a_site(folder: Path, **settings: Any) -> Iterator[Site]:
    """Open an empty site; `settings` go into its aidsafe.toml."""
    prepare(folder, **settings)
    with _open_site(folder) as site:
        yield site


@contextmanager
def a_copy_of(original: Path, folder: Path) -> Iterator[Site]:
    """Open a copy of a site, which a test may change; the original stays as it is."""
    shutil.copytree(original, folder)
    with _open_site(folder) as site:
        yield site


@contextmanager
def _open_site(folder: Path) -> Iterator[Site]:
    _load_definitions()
    with chdir(folder), dg.DagsterInstance.from_config(str(folder)) as instance:
        yield Site(folder, instance)


@cache
def _load_definitions() -> None:
    """Import the definitions where no settings are.

    They read the settings of the current folder when they are imported. A test must not hang on
    which test came first.
    """
    with (
        tempfile.TemporaryDirectory() as empty,
        chdir(empty),
        _only_variables(_own_variables()),
    ):
        import aidsafe_dagster.definitions  # noqa: F401


def prepare(folder: Path, **settings: Any) -> None:
    """Write the files of a project folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", folder)
    shutil.copy(ROOT / "workspace.yaml", folder)
    (folder / "aidsafe.toml").write_text(_as_toml(settings))


def _as_toml(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Plain values first: in TOML, what follows a table's heading belongs to the table."""
    lines = []
    tables = []
    for key, value in settings.items():
        if isinstance(value, dict):
            tables.append(f"[{prefix}{key}]")
            tables.append(_as_toml(value, f"{prefix}{key}."))
        else:
            lines.append(f"{key} = {_inline(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _inline(value: Any) -> str:
    """Return a plain value, a list of them, or one of tables."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, dict):
        pairs = [f"{key} = {_inline(inner)}" for key, inner in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    return json.dumps(value)


def prompts_file(folder: Path, texts: list[str], name: str = "mine") -> dict[str, Any]:
    """Write a JSONL file of prompts; return the source that reads it."""
    file = folder / f"{name}.jsonl"
    rows = [{"prompt": text, "category": "", "licence": "MIT"} for text in texts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": name, "path": str(file)}


TOPICS = (
    "sourdough bread", "a bicycle chain", "tax forms", "the northern lights", "a leaking tap",
    "sorting algorithms", "tomato seedlings", "a lost passport", "chess openings",
    "volcanic islands", "house plants", "old photographs", "jazz harmony", "a noisy neighbour",
    "train timetables", "knitting a scarf", "whale songs", "a job interview",
)  # fmt: skip


def some_prompts(count: int) -> list[str]:
    """Return prompts that differ enough not to be near duplicates."""
    prompts = []
    for n in range(count):
        topic = TOPICS[n % len(TOPICS)]
        prompts.append(
            f"Question {n}: tell me in {n + 3} steps about {topic}, as for reader {n}."
        )
    return prompts


def aidsafe(
    folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a site's folder, in this process: its start costs nothing."""
    from aidsafe_dagster.cli.app import app
    from aidsafe_dagster.cli.console import console

    _load_definitions()
    variables = environment(folder, **variables)
    width = int(variables["COLUMNS"])
    with chdir(folder), _only_variables(variables), _as_wide_as(console, width):
        result = CliRunner().invoke(app, list(arguments))
    stderr = result.stderr
    if result.exception and not isinstance(result.exception, SystemExit):
        stderr += "".join(format_exception(result.exception))
    return subprocess.CompletedProcess(
        arguments, result.exit_code, result.stdout, stderr
    )


@contextmanager
def _as_wide_as(console: Console, width: int) -> Iterator[None]:
    """Give the console a width, and leave none to the test that comes next.

    It reads COLUMNS when it is first imported, perhaps by another test.
    """
    before = vars(console)["_width"]
    console.width = width
    try:
        yield
    finally:
        vars(console)["_width"] = before


def aidsafe_process(
    folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, where the process is what is tested."""
    return subprocess.run(
        [sys.executable, "-m", "aidsafe_dagster.cli", *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a command that runs in a site's folder."""
    of_the_site = {
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(folder),
        "COLUMNS": "400",
        "NO_COLOR": "1",
    }
    return _own_variables() | of_the_site | variables


def _own_variables() -> dict[str, str]:
    """Return this process's environment without what would configure a project."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIDSAFE_", "DAGSTER_"))
    }


@contextmanager
def _only_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace the whole environment of this process for a while."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def contents(lake: Lake) -> dict[str, pl.DataFrame]:
    """Read every Parquet file of a lake's tables, by its path."""
    root = Path(str(lake.root))
    return {
        str(file.relative_to(root)): pl.read_parquet(file)
        for file in sorted(root.glob("*/batch=*/*.parquet"))
    }


def fingerprints(site: Site, batch: str) -> dict[str, str]:
    """Return the hash of each stage's rows and failures."""
    return {str(stage): site.lake.fingerprint(stage, batch) for stage in always_made()}


def last_touched(site: Site, run: dg.DagsterRun, ago: timedelta) -> None:
    """Date a run's last update back, as if nobody had written anything of it since."""
    then = (datetime.now(UTC) - ago).replace(tzinfo=None)
    file = site.folder / "data" / "dagster" / "history" / "runs.db"
    update = "UPDATE runs SET update_timestamp = ? WHERE run_id = ?"
    # a connection as a context manager commits, and does not close
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(update, (str(then), run.run_id))
