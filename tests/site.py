"""A project folder of its own for a test: the shipped dagster.yaml, settings, a Dagster instance, a lake."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Site:
    """The current folder of the process is `folder` while the site is open."""

    folder: Path
    instance: dg.DagsterInstance

    @property
    def settings(self) -> Settings:
        return load_settings().settings

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
        """Values of the latest materialization."""
        event = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[batch]), limit=1
        ).records[0]
        assert event.asset_materialization is not None
        return {key: value.value for key, value in event.asset_materialization.metadata.items()}


@contextmanager
def a_site(folder: Path, **settings: Any) -> Iterator[Site]:
    """An empty site; `settings` are written to its aidsafe.toml as JSON-like TOML values."""
    prepare(folder, **settings)
    before = Path.cwd()
    os.chdir(folder)
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield Site(folder, instance)
    finally:
        os.chdir(before)


def prepare(folder: Path, **settings: Any) -> None:
    """Writes what a project folder holds."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", folder)
    shutil.copy(ROOT / "workspace.yaml", folder)
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if key not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (folder / "aidsafe.toml").write_text("\n".join(lines) + "\n")


def prompts_file(folder: Path, texts: list[str], name: str = "mine") -> dict[str, Any]:
    """A JSONL file of prompts, and the source that names it."""
    file = folder / f"{name}.jsonl"
    file.write_text(
        "".join(
            json.dumps({"prompt": text, "category": "", "licence": "MIT"}) + "\n" for text in texts
        )
    )
    return {"name": name, "path": str(file)}


TOPICS = (
    "sourdough bread", "a bicycle chain", "tax forms", "the northern lights", "a leaking tap", "sorting algorithms",
    "tomato seedlings", "a lost passport", "chess openings", "volcanic islands", "house plants", "old photographs",
    "jazz harmony", "a noisy neighbour", "train timetables", "knitting a scarf", "whale songs", "a job interview",
)  # fmt: skip


def some_prompts(count: int) -> list[str]:
    """Different enough not to be near duplicates."""
    return [
        f"Question {n}: tell me in {n + 3} steps about {TOPICS[n % len(TOPICS)]}, as for reader {n}."
        for n in range(count)
    ]


def aidsafe(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, in a site's folder."""
    return subprocess.run(
        [sys.executable, "-m", "aidsafe_dagster.cli", *arguments],
        cwd=folder,
        env=environment(folder, **environ),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def environment(folder: Path, **environ: str) -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("AIDSAFE_", "DAGSTER_"))}
    return (
        own
        | {"PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(folder), "COLUMNS": "400", "NO_COLOR": "1"}
        | environ
    )


def contents(lake: Lake) -> dict[str, pl.DataFrame]:
    """Every Parquet file of a lake, by its path."""
    root = Path(str(lake.root))
    return {
        str(file.relative_to(root)): pl.read_parquet(file)
        for file in sorted(root.rglob("batch=*/*.parquet"))
    }


def last_touched(site: Site, run: dg.DagsterRun, ago: timedelta) -> None:
    """As if nobody had written anything of the run since."""
    then = (datetime.now(UTC) - ago).replace(tzinfo=None)
    with (
        closing(
            sqlite3.connect(site.folder / "data" / "dagster" / "history" / "runs.db")
        ) as database,
        database,
    ):
        database.execute(
            "UPDATE runs SET update_timestamp = ? WHERE run_id = ?", (str(then), run.run_id)
        )
