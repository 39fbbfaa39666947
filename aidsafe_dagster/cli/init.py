"""`aidsafe init`: a project of one's own, in a folder that need not be near this package's code."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import print_plain, setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here, shown

TEMPLATE = Path(__file__).parent.parent / "new_project"
_OTHER_NAMES = {"gitignore": ".gitignore"}
"""A file of that name would be obeyed where the package's own code is under version control."""
INSTANCE_FILES = ("dagster.yaml", "workspace.yaml")
"""What a project needs besides its settings."""


def init(
    folder: Annotated[
        Path, typer.Argument(help="The folder; '.' is this one.", callback=from_here)
    ],
) -> None:
    """Make a project: settings, a policy, five prompts, and what Dagster needs."""
    with setup_errors_explained(needs_project=False):
        files = project_files()
        write_new(folder, files)
        where = shown(folder)
        names = ", ".join(sorted(files))
        print_plain(f"A new project in {where}: {names}")
        print_plain("\nNext:")
        if where != ".":
            print_plain(f"  cd {shlex.quote(where)}")
        print_plain(
            "  aidsafe try         shows what becomes of a few prompts, in seconds"
        )
        print_plain("  aidsafe ingest      takes in the five prompts of prompts.csv")
        print_plain("  aidsafe backfill    makes every stage of them, simulated")
        print_plain("  aidsafe dev         shows them in the browser")
        print_plain("\nThen edit aidsafe.toml and policies/our_rules.toml.")


def project_files() -> Mapping[str, bytes]:
    """Return what a new project consists of, by path."""
    files = {}
    for file in sorted(TEMPLATE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            path = file.relative_to(TEMPLATE).as_posix()
            files[_OTHER_NAMES.get(path, path)] = file.read_bytes()
    return files


def instance_files() -> Mapping[str, bytes]:
    return {name: (TEMPLATE / name).read_bytes() for name in INSTANCE_FILES}


def write_new(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, none of which may exist yet.

    Raises:
        SetupError: some exist, or the folder cannot be written. No file is overwritten.
    """
    from aidsafe_dagster.recipe.errors import SetupError

    in_the_way = _in_the_way(folder, files)
    if in_the_way:
        raise SetupError(
            f"{folder}: nothing was written, because this is there already: "
            f"{', '.join(in_the_way)}. Choose another folder, or move it away"
        )
    for path, content in files.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # "x" fails, rather than overwrites, whatever has come there meanwhile.
            with target.open("xb") as stream:
                stream.write(content)
        except OSError as error:
            raise SetupError(f"{target}: {error.strerror}") from error


def _in_the_way(folder: Path, files: Mapping[str, bytes]) -> Sequence[str]:
    if folder.exists() and not folder.is_dir():
        return [str(folder)]
    names = []
    for path in files:
        target = folder / path
        # A link that leads nowhere is in the way too.
        if target.exists() or target.is_symlink():
            names.append(path)
    return names
