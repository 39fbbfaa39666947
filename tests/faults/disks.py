"""A small disk that can be filled up; only root on Linux can mount one."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

_DETACH = 2
"""MNT_DETACH: of a process that is about to end, a file may still be open."""


@cache
def can_mount() -> bool:
    """Tell whether a small disk can be mounted here: not in every container, even as root."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    try:
        with TemporaryDirectory() as folder, a_small_disk(Path(folder) / "disk", 4096):
            return True
    except OSError:
        return False


@contextmanager
def a_small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of so many bytes at a new folder while the block lasts."""
    folder.mkdir(parents=True)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size}".encode()
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, options):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        yield
    finally:
        libc.umount2(str(folder).encode(), _DETACH)


def fill_up(folder: Path, leave: int) -> Path:
    """Write a file that leaves only a little room on the disk."""
    ballast = folder / "ballast"
    disk = os.statvfs(folder)
    ballast.write_bytes(b"\0" * (disk.f_bavail * disk.f_frsize - leave))
    return ballast
