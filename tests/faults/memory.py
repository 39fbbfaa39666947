"""A limit on the memory of processes: a control group, which only root on Linux can make."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryLimit:
    """A control group. The kernel kills a process of it that needs more."""

    folder: Path
    is_v2: bool

    def apply_to(self, process: subprocess.Popen[str]) -> None:
        """Put a process into the group, and with it those that it starts from now on."""
        (self.folder / "cgroup.procs").write_text(str(process.pid))

    def set(self, size: int) -> None:
        """Limit the group to so many bytes; what it can swap out counts as well."""
        name = "memory.max" if self.is_v2 else "memory.limit_in_bytes"
        (self.folder / name).write_text(str(size))
        swap = self.folder / "memory.swap.max"
        if self.is_v2 and swap.exists():
            swap.write_text("0")


@contextmanager
def a_memory_limit(size: int) -> Iterator[MemoryLimit]:
    """A new control group for as long as the block lasts; its processes have to end within it."""
    is_v2 = not _V1.is_dir()
    limit = MemoryLimit((_V2 if is_v2 else _V1) / f"aidsafe-{uuid4().hex[:8]}", is_v2)
    limit.folder.mkdir()
    try:
        limit.set(size)
        yield limit
    finally:
        limit.folder.rmdir()


@cache
def can_limit() -> bool:
    """Tell whether memory can be limited here: not in every container, even as root."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    try:
        with a_memory_limit(2**30):
            return True
    except OSError:
        return False
