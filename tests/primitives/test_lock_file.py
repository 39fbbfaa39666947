"""A locked file: held by one process at a time, and free as soon as its holder is dead."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from aidsafe_dagster.primitives.held_lock import LockLost
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.errors import SetupError
from tests.site import ROOT

HOLDS = """
import sys, time
from pathlib import Path
from aidsafe_dagster.primitives.lock_file import LockFile
with LockFile(Path(sys.argv[1]), temporary=True).hold("another process of this test"):
    print("held", flush=True)
    time.sleep(240)
"""
HOLDS_IN_TURN = """
import sys
from pathlib import Path
from aidsafe_dagster.primitives.lock_file import LockFile
for _ in range(200):
    with LockFile(Path(sys.argv[1]), temporary=True).hold("one of many"):
        file = Path(sys.argv[2])
        count = int(file.read_text())
        file.write_text(str(count + 1))
"""


@contextmanager
def another_holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_lock_that_nobody_ever_took_is_free_and_looking_at_it_creates_nothing(
    tmp_path: Path,
) -> None:
    lock = LockFile(tmp_path / "locks" / "a")
    assert lock.holder() is None
    assert not lock.is_held()
    assert list(tmp_path.iterdir()) == []


def test_only_one_holds_a_lock_and_others_see_who(tmp_path: Path) -> None:
    first = LockFile(tmp_path / "a")
    second = LockFile(tmp_path / "a")
    assert first.try_hold("the first")
    assert first.try_hold("the first")  # again, by the same object
    assert not second.try_hold("the second")
    assert second.holder() == "the first"
    first.release()
    first.release()
    assert second.holder() is None
    assert second.try_hold("2nd")
    assert first.holder() == "2nd"
    second.release()


def test_who_has_to_wait_is_told_for_whom_once_and_gets_the_lock_in_the_end(
    tmp_path: Path,
) -> None:
    messages = list[str]()
    is_over = Event()

    def second() -> bool:
        with LockFile(tmp_path / "a", "batch a").hold("the second", messages.append):
            return is_over.is_set()

    with ThreadPoolExecutor() as pool:
        with LockFile(tmp_path / "a", "batch a").hold("the first"):
            waiting = pool.submit(second)
            while not messages:
                pass
            is_over.set()
        assert waiting.result(60)
    assert messages == [
        "batch a is being worked on by the first; waiting for it to end"
    ]


def test_a_wait_ends_after_its_timeout(tmp_path: Path) -> None:
    with (
        LockFile(tmp_path / "a").hold("the first"),
        pytest.raises(TimeoutError, match="still held by the first"),
        LockFile(tmp_path / "a").hold("the second", timeout_s=0.1),
    ):
        pass


def test_a_lock_is_free_once_its_holder_was_killed_and_its_file_is_cleared_away(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    lock = LockFile(path, temporary=True)
    with another_holder(path) as process:
        assert lock.holder() == "another process of this test"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert path.exists()
        assert lock.holder() is None
        assert not path.exists()


def test_a_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    program = HOLDS.replace(
        'print("held"', 'import os; os.system("sleep 30 &"); print("held"'
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
        process.wait()
        assert not LockFile(tmp_path / "a").is_held()


def test_removing_the_file_with_the_lock_never_lets_two_in_at_once(
    tmp_path: Path,
) -> None:
    counter = tmp_path / "count"
    counter.write_text("0")
    command = [sys.executable, "-c", HOLDS_IN_TURN, str(tmp_path / "a"), str(counter)]
    observer = LockFile(tmp_path / "a", temporary=True)
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    while any(process.poll() is None for process in processes):
        observer.is_held()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert counter.read_text() == "600"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("no folder")
    with pytest.raises(SetupError, match=r"locks/a: cannot be locked"):
        LockFile(tmp_path / "locks" / "a").try_hold("somebody")


def test_a_lock_whose_file_was_removed_is_lost_if_another_process_was_faster(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    with LockFile(path, "batch a").hold("this process"):
        pass
    lock = LockFile(path, "batch a")
    with lock.hold("this process"):
        lock.confirm()
        path.unlink()
        with another_holder(path), pytest.raises(LockLost, match="batch a was lost"):
            lock.confirm()
        # The other one has gone, and may have done all the work.
        with pytest.raises(LockLost):
            lock.confirm()


def test_a_lock_whose_file_was_removed_is_taken_again_if_nobody_else_did(
    tmp_path: Path,
) -> None:
    path = tmp_path / "locks" / "a"
    lock = LockFile(path)
    with lock.hold("this process"):
        path.unlink()
        path.parent.rmdir()
        lock.confirm()
        assert LockFile(path).is_held()
    lock.confirm()
