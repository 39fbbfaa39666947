"""Who has a file open, as far as the system tells."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROCESSES = Path("/proc")


def processes_with(file: Path) -> list[str]:
    """Return the processes that have a file open: 'process 4123 (aidsafe)'.

    Those of other users are not seen, nor any where the system has no /proc.
    """
    processes = []
    for folder in _PROCESSES.glob("[0-9]*"):
        if file.resolve() in _open_files(folder):
            # The name alone: arguments may hold what is nobody's business.
            with suppress(OSError):
                name = (folder / "comm").read_text("utf-8", "replace").strip()
                processes.append(f"process {folder.name} ({name})")
    return processes


def _open_files(process: Path) -> Iterator[Path]:
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield descriptor.readlink()
