"""Which files of a folder or dataset a source reads."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.files import SUPPORTED, is_supported
from aidsafe_dagster.sources.source import FileOrDataset

_NEVER_DATA = (
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "package.json",
    "package-lock.json",
    "config.json",
)
"""Files of settings that lie beside data. Others are told by what they hold."""


def matching_names(spec: FileOrDataset, names: Sequence[str]) -> list[str]:
    """Return the names that match the source's glob, in order; without one, all of data.

    Raises:
        SetupError: there is none; names those that could be read.
    """
    # Sorted, so that rows have the same order every time: duplicates depend on it.
    readable = sorted(filter(is_supported, names))
    if spec.glob is None:
        data = [
            name for name in readable if PurePosixPath(name).name not in _NEVER_DATA
        ]
        condition = f"is of a kind that is supported: {SUPPORTED}"
    else:
        data = [name for name in readable if fnmatchcase(name, spec.glob)]
        condition = f"matches '{spec.glob}'"
    if not data:
        choices = ", ".join(readable[:10]) or "(none)"
        advice = f"Set 'files' (--files) to a glob of these: {choices}"
        if not readable and spec.dataset:
            advice = (
                "A dataset made by a script often has Parquet files at the revision "
                "'refs/convert/parquet' (--revision)"
            )
        place = f"dataset '{spec.dataset}'" if spec.dataset else spec.path
        raise SetupError(f"{spec}: {place}: no readable file {condition}. {advice}")
    return data
