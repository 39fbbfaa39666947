"""The nightly ingestion is killed at random instants; the next one makes it good."""

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from aidsafe_dagster.sources.tables import COPIES, DROPPED, INGESTED
from tests.faults.commands import command_of, processes_of, wait_until
from tests.faults.forks import forked, printed_by
from tests.faults.web_ui import a_web_ui
from tests.site import Site, a_site, contents, some_prompts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BATCH_SIZE = 4
PROMPTS = 60
"""Of each of two sources. Every fifth row is there twice, and is dropped."""
STORE = "aidsafe_dagster.lake.lake:Lake.store"
WRITE = "pathlib:Path.replace"
REGISTER = "dagster:DagsterInstance.add_dynamic_partitions"
NIGHTS_KILLED = 4
EVERY_MINUTE = {"nightly_ingest": True, "ingest_cron": "* * * * *"}
FINISHED = {
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
}


@contextmanager
def a_site_with_sources(folder: Path, **settings: Any) -> Iterator[Site]:
    """A site with two sources in its settings file, and nothing ingested."""
    with a_site(folder, ingest={"batch_size": BATCH_SIZE}, **settings) as site:
        texts = some_prompts(2 * PROMPTS)
        with (folder / "aidsafe.toml").open("a") as file:
            for number, name in enumerate(("first", "second")):
                of_source = texts[number * PROMPTS : (number + 1) * PROMPTS]
                write_rows(folder / f"{name}.jsonl", of_source)
                file.write(f'\n[[sources]]\nname = "{name}"\npath = "{name}.jsonl"\n')
        yield site


def write_rows(file: Path, texts: list[str]) -> None:
    rows = []
    for number, text in enumerate(texts):
        rows.extend(
            [{"prompt": text, "licence": "MIT"}] * (2 if number % 5 == 0 else 1)
        )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ingested(site: Site) -> dict[str, Any]:
    """Every row of every batch and of its copy, and the dropped rows of all nights together."""
    tables = dict[str, Any]()
    dropped = []
    for path, frame in contents(site.lake).items():
        if path.startswith(f"{DROPPED}/"):
            dropped.extend(frame.rows())
        elif path.startswith((f"{INGESTED}/", f"{COPIES}/")):
            tables[path] = frame.rows()
    return {**tables, DROPPED: sorted(dropped), "batches": site.batches}


@pytest.fixture(scope="module")
def in_one_night(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an ingestion takes in that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with a_site_with_sources(folder) as site:
        assert site.ingest().success
        return ingested(site)


def test_an_ingestion_that_is_killed_between_any_two_files_is_completed_by_the_next(
    tmp_path: Path, in_one_night: dict[str, Any]
) -> None:
    rng = random.Random(11)
    deaths = [(STORE, rng.randrange(1, 8)) for _ in range(3)]
    deaths += [(WRITE, rng.randrange(1, 8)) for _ in range(3)]
    deaths += [(REGISTER, 1)]
    with a_site_with_sources(tmp_path) as site:
        for death in deaths:
            with forked(tmp_path, "ingest", dies_at=death) as process:
                process.join(60)
                assert process.exitcode == -signal.SIGKILL, death
        with forked(tmp_path, "ingest") as process:
            process.join(60)
            assert process.exitcode == 0, printed_by(tmp_path, process)
        assert ingested(site) == in_one_night


def test_a_night_whose_run_is_killed_at_any_instant_is_made_good_by_the_next(
    tmp_path: Path, in_one_night: dict[str, Any]
) -> None:
    rng = random.Random(3)
    with (
        a_site_with_sources(tmp_path, automation=EVERY_MINUTE) as site,
        a_web_ui(tmp_path) as ui,
    ):
        for _ in range(NIGHTS_KILLED):
            kill_the_next_run(site, ui.alive, later_s=rng.uniform(0, 3))
        nights = nights_of(site)
        wait_until(lambda: is_made_good(site, nights), ui.alive, within_s=200)
        assert ingested(site) == in_one_night


def nights_of(site: Site) -> int:
    return site.instance.get_runs_count(dg.RunsFilter(job_name="ingest_sources"))


def is_made_good(site: Site, nights: int) -> bool:
    """Whether a run that came later has succeeded, and no run of a killed process is left."""
    runs = site.instance.get_runs(dg.RunsFilter(job_name="ingest_sources"))
    latest = runs[: len(runs) - nights]
    is_over = all(run.status in FINISHED for run in runs[len(latest) :])
    return is_over and any(run.status is dg.DagsterRunStatus.SUCCESS for run in latest)


def kill_the_next_run(site: Site, alive: Any, later_s: float) -> None:
    """Kill the process of the next ingestion a little after it has begun."""
    before = nights_of(site)
    wait_until(lambda: nights_of(site) > before, alive, within_s=150)
    wait_until(lambda: bool(workers(site)), alive)
    time.sleep(later_s)
    for process in workers(site):
        process.kill()


def workers(site: Site) -> list[psutil.Process]:
    """The processes in which runs are executed."""
    return [one for one in processes_of(site.folder) if "spawn_main" in command_of(one)]
