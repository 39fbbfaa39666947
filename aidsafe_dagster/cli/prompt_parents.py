"""The source that made prompts belong to, and what is said of those that they are made from."""

from pathlib import Path
from typing import Any

from aidsafe_dagster.cli.console import print_paragraph, quantity
from aidsafe_dagster.cli.ingest import check_source, run_ingestion
from aidsafe_dagster.cli.local_runs import open_instance, require_project
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.prompt_work.parents import Parents, find_parents
from aidsafe_dagster.prompt_work.prompt_file import (
    Row,
    append_rows,
    prompt_file,
    require_prompt_file,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.decontamination import open_decontamination


def source_of(name: str) -> dict[str, Any]:
    """Return the source that made prompts belong to.

    Raises:
        SetupError: no source can have that name, its file is somebody's own, or there is no project
            to take it in.
    """
    # What nobody can take in is not to be paid for.
    require_project()
    path = prompt_file(Path.cwd(), name)
    source = {"name": name, "path": str(path)}
    check_source(source)
    for other in load_settings().settings.sources:
        if other.name == name and other.path != path:
            raise SetupError(
                f"--name {name}: that is a source of the settings, which reads something else; "
                "take another name"
            )
    require_prompt_file(path)
    return source


def read_parents(settings: Settings, policies: Policies) -> Parents:
    """Return the harmful prompts of the project.

    Raises:
        SetupError: rows or evaluation sets cannot be read.
    """
    find_matches = open_decontamination(settings).find
    return find_parents(Lake(settings.lake), settings, policies, find_matches)


def print_parents(parents: Parents, settings: Settings) -> None:
    """Print how many harmful prompts there are, and why others are left out."""
    by_whom = " (REHEARSAL)" if parents.simulated else ""
    print_paragraph(f"{quantity(parents.harmful, 'harmful prompt')}{by_whom}.")
    for reason, count in sorted(parents.left_out.items()):
        print_paragraph(f"{count:,} left out: {reason}", 2)
    if parents.unknown:
        print_paragraph(
            f"{quantity(parents.unknown, 'further prompt')} not made yet, so nobody knows whether "
            "they are harmful: `aidsafe backfill` first.",
            2,
        )
    if not settings.decontamination.sets:
        print_paragraph(
            "No evaluation set is configured: they are checked against none.", 2
        )


def take_in(source: dict[str, Any], rows: list[Row]) -> bool:
    """Write the rows into their file, and ingest it; tell whether that went well."""
    path = Path(source["path"])
    added = append_rows(path, rows)
    print_paragraph(f"{quantity(added, 'prompt')} added to {shown(path)}.")
    with open_instance() as instance:
        is_taken_in = run_ingestion(instance, [source]).success
    if is_taken_in:
        print_paragraph(
            "They are for training alone: in no evaluation, no experiment, and in no split but "
            "train. `aidsafe backfill` makes the rows of those that are new."
        )
    return is_taken_in
