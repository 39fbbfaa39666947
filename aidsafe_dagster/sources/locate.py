"""Locate the files of a source on this machine: its own, or those of a Hub dataset."""

from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.matching import matching_names
from aidsafe_dagster.sources.source import FileOrDataset


@dataclass(frozen=True)
class LocatedFile:
    path: Path
    place: str
    """How rows and messages refer to the file."""
    is_one_of_many: bool = False
    """It was found in a folder or a dataset, and not named by itself."""


@dataclass(frozen=True)
class LocatedFiles:
    files: tuple[LocatedFile, ...]
    revision: str | None
    """Commit of the dataset; None for a file."""


def locate_files(spec: FileOrDataset, access: HubAccess) -> LocatedFiles:
    """Return the files to read; download them if they are on the Hub.

    Raises:
        SetupError: the dataset is not available, or no file is readable; names the remedy.
    """
    if spec.path and spec.path.is_dir():
        return LocatedFiles(_files_in(spec, spec.path), None)
    if spec.path:
        if spec.files:
            raise SetupError(
                f"{spec}: 'files' is a glob in a folder or dataset; {spec.path} is no folder"
            )
        return LocatedFiles((LocatedFile(spec.path, spec.path.name),), None)
    # The Hub's client takes long to import.
    from aidsafe_dagster.sources.hub import download  # noqa: PLC0415

    dataset = download(spec, access)
    files = []
    for file in dataset.files:
        # With the commit, so that a row can be found again after the branch has moved.
        place = f"{spec.dataset}@{dataset.revision} {file.name}"
        files.append(LocatedFile(file.path, place, is_one_of_many=True))
    return LocatedFiles(tuple(files), dataset.revision)


def _files_in(spec: FileOrDataset, folder: Path) -> tuple[LocatedFile, ...]:
    """Return the readable files of a folder, ordered by name: duplicates depend on the order."""
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not is_hidden:
            names.append(name.as_posix())
    return tuple(
        LocatedFile(folder / name, f"{folder.name}/{name}", is_one_of_many=True)
        for name in matching_names(spec, names)
    )
