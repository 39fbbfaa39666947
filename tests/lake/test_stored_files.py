"""A store that fails, as any file system of fsspec may: asked again, then named."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath
from upath.implementations.memory import MemoryPath
from upath.registry import register_implementation

from aidsafe_dagster.lake import stored_files
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.held_lock import LockLost
from aidsafe_dagster.recipe.errors import StoreUnavailable
from aidsafe_dagster.recipe.records import Failure


class FailingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Files in memory that cannot be reached for some requests."""

    protocol: ClassVar[Any] = "failing"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    errors: ClassVar[list[Exception]] = []
    """Raised by the next requests, one by one."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("failing://", "memory://"))  # type: ignore[no-any-return]

    def info(self, path: str, **kwargs: Any) -> Any:
        self._fail()
        return super().info(path, **kwargs)

    def _open(self, path: str, *arguments: Any, **named: Any) -> Any:
        self._fail()
        return super()._open(path, *arguments, **named)

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


fsspec.register_implementation("failing", FailingFileSystem, clobber=True)
register_implementation("failing", MemoryPath, clobber=True)
FILE = UPath("failing://bucket/file")


@pytest.fixture(autouse=True)
def failing() -> Iterator[list[Exception]]:
    FailingFileSystem.store.clear()
    FailingFileSystem.errors.clear()
    yield FailingFileSystem.errors
    FailingFileSystem.errors.clear()


def test_a_store_that_fails_for_a_moment_is_asked_again(
    failing: list[Exception],
) -> None:
    stored_files.write(FILE, b"content")
    for request, answer in requests():
        failing.append(OSError(16, "Service Unavailable"))
        assert request() == answer
        assert not failing


def requests() -> list[tuple[Callable[[], object], object]]:
    return [
        (lambda: stored_files.exists(FILE), True),
        (lambda: stored_files.exists(FILE.with_name("none")), False),
        (lambda: stored_files.read(FILE), b"content"),
        (lambda: stored_files.write(FILE, b"content"), None),
    ]


def test_a_store_that_keeps_failing_is_named_and_not_taken_for_a_missing_file(
    failing: list[Exception],
) -> None:
    failing.append(OSError("unreachable at https://me:a-secret@host"))
    with pytest.raises(StoreUnavailable) as raised:
        stored_files.ask(FILE, FILE.stat, wait_s=0.0)
    message = str(raised.value)
    assert message.startswith("failing:///bucket/file: the store has failed for 0 s")
    assert "start again once the store is back" in message
    assert "a-secret" not in message


def test_a_store_that_was_given_up_is_not_waited_for_again_until_it_answers(
    failing: list[Exception],
) -> None:
    stored_files.write(FILE, b"content")
    for wait_s in (0.0, stored_files.WAIT_S):
        failing.extend([OSError("away")] * 2)
        with pytest.raises(StoreUnavailable):
            stored_files.ask(FILE, FILE.stat, wait_s)
        failing.clear()
    assert stored_files.exists(FILE)
    failing.append(OSError("away for a moment"))
    assert stored_files.exists(FILE)


def test_a_refused_key_is_not_tried_again(failing: list[Exception]) -> None:
    failing.extend([PermissionError("Access Denied")] * 2)
    with pytest.raises(StoreUnavailable, match=r"refuses access .*what the key may do"):
        stored_files.read(FILE)
    assert len(failing) == 1


def test_a_store_that_cannot_be_reached_is_no_damaged_file(
    failing: list[Exception],
) -> None:
    lake = Lake("failing://bucket/lake")
    lake.store("prompts", "b-0001", [], Failure)
    failing.append(PermissionError("Access Denied"))
    with pytest.raises(StoreUnavailable):
        lake.is_readable("prompts", "b-0001", Failure)


def test_a_lost_lock_keeps_a_file_out_of_the_store() -> None:
    def lost() -> None:
        raise LockLost("lost")

    with pytest.raises(LockLost):
        stored_files.write(FILE, b"late", lost)
    assert not stored_files.exists(FILE)
