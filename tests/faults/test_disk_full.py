"""A full disk while a partition is written: no half file, nothing lost, the file is named."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure
from tests.engines.dialects import Received, Reply, a_chat_completion, a_dialect_server
from tests.engines.driving import drive_over_http, some_tasks
from tests.faults.commands import (
    AIDSAFE,
    BATCH,
    answered_calls,
    fill,
    is_running,
    served_by,
    stage_texts,
    wait_until,
)
from tests.faults.conftest import Undisturbed
from tests.faults.disks import a_small_disk, can_mount, fill_up
from tests.serving import a_model_server
from tests.site import ROOT, a_site, environment

WRITES_TOO_MUCH = """
import resource, sys
import polars as pl
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
rows = pl.DataFrame({"text": [str(hash(str(n))) for n in range(100_000)]})
try:
    Lake(sys.argv[1]).write("prompts", "b-0001", rows)
except SetupError as error:
    print(error)
"""
DIES_BESIDE = """
import os, sys
from pathlib import Path
from aidsafe_dagster.primitives.atomic_write import atomic_write
with atomic_write(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    os._exit(9)
"""
needs_mount = pytest.mark.skipif(
    not can_mount(), reason="only root may mount a small disk"
)


def python(program: str, argument: Path) -> str:
    command = [sys.executable, "-c", program, str(argument)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False
    ).stdout


def test_a_write_without_room_says_so_and_leaves_the_old_rows_and_nothing_else(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path)
    lake.write("prompts", "b-0001", pl.DataFrame({"text": ["old"]}))
    printed = python(WRITES_TOO_MUCH, tmp_path)
    path = lake.rows_path("prompts", "b-0001")
    assert f"{path}: cannot be written (File too large)" in printed
    assert lake.rows("prompts", "b-0001")["text"].to_list() == ["old"]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [
        "rows.parquet"
    ]


def test_the_file_of_a_dead_writer_is_cleared_away_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    python(DIES_BESIDE, tmp_path / "a file")
    (leftover,) = tmp_path.iterdir()
    with atomic_write(tmp_path / "another file") as other:
        other.write_text("slow")
        assert leftover.exists()
        with atomic_write(tmp_path / "a file") as beside:
            beside.write_text("whole")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "a file": "whole",
        "another file": "slow",
    }


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("no folder")
    with pytest.raises(SetupError, match="cannot be written"):
        Lake(tmp_path / "lake").write(
            "prompts", "b-0001", pl.DataFrame({"text": ["new"]})
        )


@pytest.mark.slow
@needs_mount
def test_a_run_that_fills_the_disk_says_so_and_repeats_no_call_once_there_is_room(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    lake = folder / "data" / "lake"
    with a_model_server(tmp_path) as server, a_small_disk(lake, 4_000_000):
        fill(folder, server)
        with a_site(folder, **served_by(server)) as site:
            ballast = fill_up(lake, leave=48_000)
            run = site.make(BATCH)
            assert not run.success
            assert "cannot be written (No space left on device)" in run.error
            assert str(Path("lake")) in run.error
            assert [file for file in lake.rglob(".*") if file.is_file()] == []
            stages = [
                stage for stage in undisturbed.texts if site.lake.has(stage, BATCH)
            ]
            assert 0 < len(stages) < len(undisturbed.texts)
            ballast.unlink()
            run = site.make(BATCH)
            assert run.success, run.error
            assert stage_texts(site) == undisturbed.texts
            assert answered_calls(server) == undisturbed.calls


@needs_mount
def test_answers_wait_while_the_disk_of_the_journal_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = tmp_path / "disk"
    is_filled = threading.Event()
    while_full: list[Received] = []

    def answer(received: Received) -> Reply:
        if len(server.chats) >= 10 and not is_filled.is_set():
            is_filled.set()
            threading.Timer(1.5, (disk / "ballast").unlink).start()
            with suppress(OSError):
                fill_up(disk, leave=0)
        if (disk / "ballast").exists():
            while_full.append(received)
        # Long answers, so that the journal has to grow.
        return Reply(a_chat_completion(json.dumps({"belief": "so " * 300})))

    with a_small_disk(disk, 8_000_000), a_dialect_server(answer) as server:
        results, progress = drive_over_http(disk, server.base_url, some_tasks(20))
    assert while_full
    assert [result for result in results if isinstance(result, Failure)] == []
    assert progress.calls_made == len(server.chats) == 60
    told = [record.message for record in caplog.records if "journal" in record.message]
    assert "trying again" in told[0]
    assert told[1] == "the journal can be written again"


@pytest.mark.slow
@needs_mount
def test_a_command_on_a_full_disk_ends_in_three_lines_of_ours(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    folder = disk / "site"
    with a_model_server(tmp_path) as server, a_small_disk(disk, 60_000_000):
        folder.mkdir()
        fill(folder, server)
        command = subprocess.Popen(
            [*AIDSAFE, "backfill"],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_until(lambda: len(server.log()) > 5, is_running(command))
        # The command itself may take the last page.
        with suppress(OSError):
            fill_up(disk, leave=0)
        printed, _ = command.communicate(timeout=200)
        assert command.returncode == 2, printed
        assert "Traceback" not in printed
        # Dagster adds some lines for each event that it could not write down itself.
        what, safe, remedy = printed.splitlines()[-3:]
        assert what.startswith("Error the disk is full or fails: ")
        assert "What was answered is recorded" in safe
        assert remedy == "Make room, then start the same command again."
        (disk / "ballast").unlink()
        with a_site(folder, **served_by(server)) as site:
            assert site.make(BATCH).success
