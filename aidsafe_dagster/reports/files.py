"""Where reports are stored."""

from pathlib import Path

from aidsafe_dagster.primitives.atomic_write import write_text


def store(path: Path, text: str) -> Path:
    """Writes a file whole or not at all: who has the old one open reads on undisturbed."""
    return write_text(path, text)
