"""Locate the files of a source on this machine: its own file, or those of a Hub dataset."""

from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.source import FileOrDataset


@dataclass(frozen=True)
class LocatedFile:
    path: Path
    place: str
    """How rows and messages refer to the file."""


@dataclass(frozen=True)
class LocatedFiles:
    files: tuple[LocatedFile, ...]
    revision: str | None
    """Commit of the dataset; None for a file."""


def locate_files(spec: FileOrDataset, access: HubAccess) -> LocatedFiles:
    """Return the files to read; download them if they are on the Hub.

    Raises:
        SetupError: the dataset is not available; names the remedy.
    """
    if spec.path:
        return LocatedFiles((LocatedFile(spec.path, spec.path.name),), None)
    # The Hub's client takes long to import.
    from aidsafe_dagster.sources.hub import download  # noqa: PLC0415

    dataset = download(spec, access)
    files = []
    for file in dataset.files:
        # With the commit, so that a row can be found again after the branch has moved.
        place = f"{spec.dataset}@{dataset.revision} {file.name}"
        files.append(LocatedFile(file.path, place))
    return LocatedFiles(tuple(files), dataset.revision)
