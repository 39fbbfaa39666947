"""How large an input may be, so that no file of a few kilobytes takes all the memory.

Compressed files and Parquet may be a thousand times larger inside than outside, so what counts is
what comes out. What is too large as a whole stops the ingestion; a row that is, is rejected alone.
"""

import io
import os
import stat
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record

LEAST_ROW_BYTES = 256
"""What a row takes in memory, however little it says."""


class InputBounds(Record):
    """Bounds of an input file, decompressed."""

    max_file_mib: int = Field(
        default=1024, ge=1, description="MiB of one file, decompressed"
    )
    max_row_kib: int = Field(
        default=4096, ge=1, description="KiB of one row; a larger one is rejected"
    )
    max_nesting: int = Field(
        default=64,
        ge=1,
        le=500,
        description="levels of lists and objects in one row; a deeper one is rejected",
    )

    @property
    def file_bytes(self) -> int:
        return self.max_file_mib * 2**20

    @property
    def row_bytes(self) -> int:
        return self.max_row_kib * 2**10

    @property
    def row_too_large(self) -> str:
        return f"larger than {self.max_row_kib:,} KiB (ingest.max_row_kib)"

    @property
    def too_deep(self) -> str:
        return f"nested deeper than {self.max_nesting} levels (ingest.max_nesting)"

    def file_too_large(self, path: Path) -> SetupError:
        return SetupError(
            f"{path}: larger than {self.max_file_mib:,} MiB when it is read; "
            "raise ingest.max_file_mib, or set the source's limit"
        )

    def is_too_deep(self, value: Any) -> bool:
        """Return whether lists and objects stand in each other too many times."""
        level = list[Any]([value])
        for _ in range(self.max_nesting + 1):
            inner = list[Any]()
            for item in level:
                if isinstance(item, dict):
                    inner += item.values()
                elif isinstance(item, list):
                    inner += item
            if not inner:
                return False
            level = inner
        return any(isinstance(item, dict | list) for item in level)


def open_regular(path: Path) -> IO[bytes]:
    """Open a file that is one.

    Raises:
        SetupError: it is a pipe, a device or a socket, which may have no end.
        OSError: it cannot be opened.
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        # A folder raises what says so.
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a device"
    raise SetupError(f"{path}: it is {kind}, not a file; save its content to a file")


class BoundedReader(io.RawIOBase):
    """Passes on what a decompressed file holds, up to the bound.

    Raises:
        SetupError: from any method that reads, beyond the bound.
    """

    def __init__(self, file: Any, path: Path, bounds: InputBounds) -> None:
        self._file = file
        self._path = path
        self._bounds = bounds
        self._left = bounds.file_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self.charge(len(data))
        buffer[: len(data)] = data
        return len(data)

    def charge(self, size: int) -> None:
        """Count bytes that reading takes."""
        self._left -= size
        if self._left < 0:
            raise self._bounds.file_too_large(self._path)
