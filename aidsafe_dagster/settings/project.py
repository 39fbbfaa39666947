"""The project: the folder that settings, data and the Dagster instance belong to.

A project is found from any folder inside it, as git and uv find theirs: it is the nearest folder,
from the current one upwards, that has an `aidsafe.toml`, or a `dagster.yaml` beside a
`workspace.yaml`. DAGSTER_HOME names a project from anywhere, and then all of it is used: settings,
data and instance. Where the two disagree, a person has to say which one is meant.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aidsafe_dagster.recipe.errors import SetupError

SETTINGS_FILE = "aidsafe.toml"
INSTANCE_FILE = "dagster.yaml"
WORKSPACE_FILE = "workspace.yaml"
SETTINGS_VARIABLE = "AIDSAFE_SETTINGS"
HOME_VARIABLE = "DAGSTER_HOME"


@dataclass(frozen=True)
class Project:
    folder: Path
    """Absolute."""
    is_found: bool
    """Otherwise it is the current folder, which holds no project."""


def find_project(
    start: Path | None = None, environ: Mapping[str, str] | None = None
) -> Project:
    """Return the project of a folder (default: the current one).

    Raises:
        SetupError: DAGSTER_HOME is no folder, or names another project than the one that the
            folder is in.
    """
    if environ is None:
        environ = os.environ
    folder = (start or Path.cwd()).absolute()
    around = _nearest_project(folder)
    if around is None and environ.get(SETTINGS_VARIABLE):
        # Whoever names a settings file means its project.
        around = _nearest_project(Path(environ[SETTINGS_VARIABLE]).absolute().parent)
    home = environ.get(HOME_VARIABLE)
    if not home:
        return Project(around or folder, around is not None)
    named = Path(home)
    if not named.is_absolute() or not named.is_dir():
        raise SetupError(
            f"{HOME_VARIABLE}={home}: it has to be the absolute path of a folder"
        )
    # A settings file that is named as well says that the two are meant to lie apart.
    is_explicit = bool(environ.get(SETTINGS_VARIABLE))
    if around is None or is_explicit or around.samefile(named):
        return Project(named, is_found=True)
    raise SetupError(
        f"Which project? {HOME_VARIABLE} names {named}, and this folder belongs to {around}. "
        f"Say it with --project, as in `aidsafe --project {shlex.quote(str(around))} status`, "
        f"or unset {HOME_VARIABLE}"
    )


def is_project(folder: Path) -> bool:
    if (folder / SETTINGS_FILE).is_file():
        return True
    # A dagster.yaml alone may be the home of some other Dagster project.
    return (folder / INSTANCE_FILE).is_file() and (folder / WORKSPACE_FILE).is_file()


def refuse_half_a_project(environ: Mapping[str, str] | None = None) -> None:
    """Refuse a Dagster process whose storage would lie outside the project that it serves.

    Dagster takes the relative paths of `dagster.yaml` from the folder that it is started in.

    Raises:
        SetupError: it was started elsewhere; names the folder to start it in.
    """
    home = (environ or os.environ).get(HOME_VARIABLE)
    if not home or not Path(home).is_dir() or Path(home).samefile(Path.cwd()):
        return
    if _has_relative_storage(Path(home) / INSTANCE_FILE):
        raise SetupError(
            f"{HOME_VARIABLE}={home}: paths in its {INSTANCE_FILE} are relative to the folder that "
            f"Dagster is started in, and that was {Path.cwd()}. Start it in {home}"
        )


def _nearest_project(folder: Path) -> Path | None:
    for candidate in (folder, *folder.parents):
        if is_project(candidate):
            return candidate
    return None


def _has_relative_storage(file: Path) -> bool:
    try:
        config: Any = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        # Dagster says what is wrong with it.
        return False
    folder = storage_folder(config)
    return folder is not None and not Path(folder).is_absolute()


def storage_folder(config: Any) -> str | None:
    """Return the folder of the SQLite storage that dagster.yaml names; None for any other."""
    match config:
        case {
            "storage": {
                "custom": {
                    "module": "aidsafe_dagster.runs.storage",
                    "config": {"base_dir": str(base_dir)},
                }
            }
        }:
            return base_dir
        case {"storage": {"sqlite": {"base_dir": str(base_dir)}}}:
            return base_dir
    return None
