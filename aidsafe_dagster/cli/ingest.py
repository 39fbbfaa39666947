"""`aidsafe ingest`: a source from the options, and the run that takes its prompts in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from aidsafe_dagster.cli.console import console, print_problem
from aidsafe_dagster.cli.ingestion_summary import print_ingestion
from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.sources.names import is_whole, name_of_dataset, name_of_file
from aidsafe_dagster.sources.source import bundled_sources
from aidsafe_dagster.stages.ingestion import configured_sources


def source_from_options(
    *,
    file: Path | None,
    name: str | None,
    hub: str | None,
    preset: str | None,
    columns: Mapping[str, str | None],
    **others: str | int | None,
) -> dict[str, Any]:
    """Return the source that the options describe, as in `[[sources]]`; empty without options.

    Raises:
        SetupError: there are options, and none of them says which source they are about.
    """
    # Absolute, because the settings read relative paths from the folder of their own file.
    path = str(file.absolute()) if file else None
    options: dict[str, Any] = {
        "name": name or preset or _name_of(file, hub),
        "path": path,
        "hub": hub,
        "preset": preset,
        "columns": {key: column for key, column in columns.items() if column},
        **others,
    }
    # Options that were not given are left out, so that a preset can fill them in.
    spec = {key: value for key, value in options.items() if value}
    if spec and not (file or hub or preset):
        options_given = ", ".join(spec)
        raise SetupError(
            f"{options_given}: of which source? Name a file, --hub or --preset; "
            "--source takes no other options"
        )
    return spec


def configured_source(name: str) -> dict[str, Any]:
    """Return the source of that name from the settings.

    Raises:
        SetupError: there is none; names the nearest one.
    """
    sources = {
        source.name: source for source in configured_sources(load_settings().settings)
    }
    if name not in sources:
        raise unknown("source", name, sources, "ingest --source")
    return sources[name].model_dump(mode="json", exclude_none=True)


def check_source(spec: dict[str, Any]) -> None:
    """Validate a source before a run is started with it.

    Raises:
        SetupError: a value is not valid; names it.
    """
    load_settings(overrides={"sources": [spec]}, overrides_from="command line")


def bundled_sample(
    prompts_per_source: int, only: str | None = None
) -> list[dict[str, Any]]:
    """Return the bundled sources cut to that many prompts; 0 cuts nothing.

    None, which means those of the settings, where neither a number nor a source is given.

    Raises:
        SetupError: there is no bundled source of the name `only`; names the nearest one.
    """
    if not prompts_per_source and only is None:
        return []
    bundled = {source.name: source for source in bundled_sources()}
    if only and only not in bundled:
        raise unknown("source", only, bundled, "demo --source")
    sources = []
    for name, source in bundled.items():
        if only in (None, name):
            spec: dict[str, Any] = {"name": name, "path": str(source.path)}
            if prompts_per_source:
                spec["limit"] = prompts_per_source
            sources.append(spec)
    return sources


def run_ingestion(
    instance: dg.DagsterInstance, sources: Sequence[dict[str, Any]]
) -> BatchRun:
    """Ingest these sources, or those of the settings if there are none, and print the outcome."""
    config: dict[str, Any] = {}
    if sources:
        config = {"ops": {"ingest_prompts": {"config": {"sources": list(sources)}}}}
    with console.status("Ingesting prompts …"):
        run = run_job(instance, "ingest_sources", config=config)
    if run.success:
        print_ingestion(run.metadata)
    else:
        print_problem("Error", run.error)
    return run


def made_up_name(spec: Mapping[str, Any], name: str | None) -> str | None:
    """Return the name of a source whose file has none that could be kept, unless it was given."""
    if name or spec.get("preset") or not spec.get("path"):
        return None
    given = Path(spec["path"]).name.partition(".")[0]
    return None if is_whole(given) else spec["name"]


def _name_of(file: Path | None, hub: str | None) -> str | None:
    if file:
        return name_of_file(file)
    return name_of_dataset(hub) if hub else None
