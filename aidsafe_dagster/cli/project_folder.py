"""A command works in its project's folder, wherever it is called from.

So the relative paths of `dagster.yaml` mean the same for a command as for Dagster's own programs,
which take them from the folder that they are started in. Paths that a person types are taken from
where that person is (`from_here`), and paths that are shown can be typed there (`shown`).
"""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

_OPTION = "--project"
_called_from: ContextVar[Path | None] = ContextVar("called_from", default=None)
"""The folder of the person's shell."""
_named: ContextVar[Path | None] = ContextVar("named", default=None)
"""The folder that `--project` names."""


class ProjectGroup(TyperGroup):
    """Commands that take `--project` before their name and after it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _project_first(args))


def choose_project(folder: Path | None) -> None:
    """Take what `--project` says, for the command that follows."""
    _named.set(folder)


def from_here(path: Path | None) -> Path | None:
    """Make a path absolute while the command is still where it was called from."""
    return path.absolute() if path is not None else None


def from_here_if_there(place: str | None) -> str | None:
    """As `from_here`, for what may be a path or a name."""
    if place is None:
        return None
    path = Path(place)
    return str(path.absolute()) if path.exists() else place


def all_from_here(paths: list[Path]) -> list[Path]:
    return [path.absolute() for path in paths]


def called_from() -> Path:
    """Return the folder of the person's shell."""
    return _called_from.get() or Path.cwd()


def typed(path: str) -> Path:
    """Return what a path means that a person typed: it is relative to where that was."""
    return (_called_from.get() or Path.cwd()) / path


def shown(path: str | Path) -> str:
    """Return a path as it can be typed where the command was called from."""
    return os.path.relpath(path, called_from())


def program() -> str:
    """Return how this command is called: by its name, or by its path if it is not on the PATH."""
    name = Path(sys.argv[0]).name
    on_path = shutil.which(name)
    if on_path and Path(on_path).samefile(typed(sys.argv[0])):
        return name
    return shlex.quote(shown(typed(sys.argv[0])))


def program_for_project() -> str:
    """Return how this command is called for the project at work, from where the person is."""
    command = program()
    # From there another project may be nearer than this one.
    if shown(Path.cwd()) != ".":
        command += f" --project {shlex.quote(shown(Path.cwd()))}"
    return command


@contextmanager
def in_project() -> Iterator[None]:
    """Work in the folder of the project that `--project`, DAGSTER_HOME or the place says.

    Raises:
        SetupError: that is no project, or they disagree (`settings.project.find_project`).
    """
    from aidsafe_dagster.settings.project import find_project

    named = _named.get()
    if named is not None:
        _use_only(named)
    folder = named or find_project().folder
    with in_folder(folder):
        yield


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    from aidsafe_dagster.settings.project import (
        HOME_VARIABLE,
        INSTANCE_FILE,
        SETTINGS_VARIABLE,
    )

    # A relative one would mean another file from there.
    settings_file = os.environ.get(SETTINGS_VARIABLE)
    if settings_file:
        os.environ[SETTINGS_VARIABLE] = str(Path(settings_file).absolute())
    # For Dagster, in this process and in those that it starts.
    if (folder / INSTANCE_FILE).exists():
        os.environ[HOME_VARIABLE] = str(folder)
    caller = _called_from.get() or Path.cwd()
    token = _called_from.set(caller)
    try:
        with chdir(folder):
            yield
    finally:
        _called_from.reset(token)


def _use_only(folder: Path) -> None:
    """Let the project that is named win over what the environment says."""
    from aidsafe_dagster.recipe.errors import SetupError
    from aidsafe_dagster.settings.project import (
        HOME_VARIABLE,
        INSTANCE_FILE,
        SETTINGS_VARIABLE,
        is_project,
    )

    if not is_project(folder) and not (folder / INSTANCE_FILE).is_file():
        raise SetupError(
            f"{_OPTION} {folder}: there is no aidsafe.toml and no dagster.yaml; "
            f"`aidsafe init {folder}` makes a project there"
        )
    os.environ.pop(SETTINGS_VARIABLE, None)
    os.environ[HOME_VARIABLE] = str(folder)


def _project_first(args: list[str]) -> list[str]:
    """Move `--project DIR` to the front, where the options of all commands stand."""
    if "--" in args:
        end = args.index("--")
        return _project_first(args[:end]) + args[end:]
    moved: list[str] = []
    rest = list(args)
    for place, argument in enumerate(args):
        if argument.startswith(f"{_OPTION}="):
            moved = [argument]
            rest = args[:place] + args[place + 1 :]
        elif argument == _OPTION and place + 1 < len(args):
            moved = args[place : place + 2]
            rest = args[:place] + args[place + 2 :]
    return moved + rest
