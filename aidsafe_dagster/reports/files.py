"""Where reports are stored."""

from pathlib import Path

from aidsafe_dagster.primitives.atomic_write import atomic_write


def write_report(path: Path, text: str) -> Path:
    """Write a file whole or not at all. A reader who has the old one open is not disturbed.

    Raises:
        SetupError: the file cannot be written.
    """
    with atomic_write(path) as partial:
        partial.write_text(text, "utf-8")
    return path
