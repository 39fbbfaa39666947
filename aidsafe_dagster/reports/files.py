"""Where reports are stored."""

import os
from pathlib import Path


def write_report(path: Path, text: str) -> Path:
    """Writes a file whole or not at all: who has the old one open reads on undisturbed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    beside.write_text(text, "utf-8")
    return beside.replace(path)
