"""Working in a generation: the project itself, or the project of its own that a later one is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from aidsafe_dagster.cli.init import instance_files
from aidsafe_dagster.cli.project_folder import in_folder
from aidsafe_dagster.generations.next_settings import own_places, settings_text
from aidsafe_dagster.generations.records import generation_folder, settings_file
from aidsafe_dagster.generations.taken_over import (
    TakenOver,
    take_over_prompts,
    take_over_rows,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import Loaded, load_settings, setting_variables
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.stages.partitions import batches


def load_project() -> Loaded:
    """Load the settings of the project that generations belong to.

    Raises:
        SetupError: this is a generation of another project.
    """
    loaded = load_settings()
    if loaded.settings.generation.number > 1:
        number = loaded.settings.generation.number
        raise SetupError(
            f"{loaded.file.parent}: this is generation {number} of a project. Call "
            "`aidsafe generation` in that project"
        )
    return loaded


@contextmanager
def in_generation(project: Loaded, number: int) -> Iterator[None]:
    """Work in the folder of a generation. The first is the project, where this works already."""
    if number == 1:
        yield
        return
    folder = generation_folder(project.settings, number)
    # What the environment says is in the settings file of the generation already, and would lead
    # it to the places of the project.
    names = setting_variables(project.file, os.environ)
    values = {name: os.environ.pop(name) for name in names}
    home = os.environ.get("DAGSTER_HOME")
    try:
        with in_folder(folder):
            yield
    finally:
        os.environ.update(values)
        if home is not None:
            os.environ["DAGSTER_HOME"] = home


def write_project(project: Loaded, number: int, settings: Settings) -> Settings:
    """Write the files of a generation's project; return the settings that are in force there."""
    folder = generation_folder(project.settings, number)
    folder.mkdir(parents=True, exist_ok=True)
    settings = own_places(settings, number, folder)
    for name, content in instance_files().items():
        if not (folder / name).exists():
            write_text(folder / name, content.decode())
    text = settings_text(settings, number, project.file.parent)
    write_text(settings_file(project.settings, number), text)
    return settings_in(project, number)


def take_over(
    instance: dg.DagsterInstance, project: Settings, before: Settings, own: Settings
) -> TakenOver | None:
    """Bring the prompts, and the rows that are made as before, into a generation.

    Returns:
        What will be replayed and asked; None without prompts.
    """
    lake = Lake(own.lake)
    keys = take_over_prompts(Lake(project.lake), lake)
    if not keys:
        return None
    taken = take_over_rows(Lake(before.lake), lake, keys, take_snapshot(own))
    assert batches.name is not None
    known = instance.get_dynamic_partitions(batches.name)
    new_keys = sorted({*keys} - {*known})
    if new_keys:
        instance.add_dynamic_partitions(batches.name, new_keys)
    return taken


def settings_in(project: Loaded, number: int) -> Settings:
    """Return the settings of a generation that was begun."""
    if number == 1:
        return project.settings
    folder: Path = generation_folder(project.settings, number)
    names = {*setting_variables(project.file, os.environ)}
    environ = {name: value for name, value in os.environ.items() if name not in names}
    # `find_project` would otherwise ask which of the two is meant.
    environ.pop("DAGSTER_HOME", None)
    return load_settings(folder, environ).settings
