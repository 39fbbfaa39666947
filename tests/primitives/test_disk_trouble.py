import errno
import sqlite3

import pytest

from aidsafe_dagster.primitives.disk_trouble import disk_trouble


def wrapped(error: BaseException) -> BaseException:
    outer = RuntimeError("Dagster says that a step broke")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("disk I/O error"),
    ],
)
def test_a_full_disk_is_found_beneath_other_errors(error: BaseException) -> None:
    assert disk_trouble(wrapped(error)) == getattr(error, "strerror", str(error))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file"),
        sqlite3.OperationalError("no such table: disk is ful"),
        ValueError("the disk is full"),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert disk_trouble(wrapped(error)) is None
