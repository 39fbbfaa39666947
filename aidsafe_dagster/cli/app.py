"""The command line: `aidsafe demo | doctor | ingest | backfill | status | show`."""

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aidsafe_dagster.cli import console as shown
from aidsafe_dagster.cli import doctor as doctoring
from aidsafe_dagster.cli.console import complain, console, explained
from aidsafe_dagster.cli.engine import app as engine_app
from aidsafe_dagster.cli.evaluate import evaluate
from aidsafe_dagster.cli.export import check_chat_template, export, publish
from aidsafe_dagster.cli.local_runs import BatchRun, open_instance, run_job, unfinished
from aidsafe_dagster.cli.plan import plan
from aidsafe_dagster.cli.review import app as review_app
from aidsafe_dagster.cli.train import train
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import build_dialogue_context, make_engine
from aidsafe_dagster.runs.batch_claims import claim_each
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.source import bundled_sources
from aidsafe_dagster.stages.ingestion import sources_of

app = typer.Typer(
    help="Policy-embedded chain-of-thought data by multi-agent deliberation.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


app.add_typer(engine_app, name="engine")
app.add_typer(review_app, name="review")


@app.command()
def demo(
    sample: Annotated[
        int, typer.Option(help="Prompts per bundled source; 0: all of them.", min=0)
    ] = 0,
) -> None:
    """Ingest the bundled prompts and take every batch through the whole recipe."""
    with explained(), open_instance() as instance:
        started = time.monotonic()
        settings = load_settings().settings
        config = (
            {"ops": {"ingest_prompts": {"config": {"sources": _sample(sample)}}}}
            if sample
            else None
        )
        console.rule("[bold]AIDSAFE on Dagster[/]")
        _tell_engine(settings)
        failed = [
            run
            for run in (_ingest(instance, config), *_backfill(instance, settings, None))
            if not run.success
        ]
        _summarise(instance, settings)
        console.print(f"\nDone in {time.monotonic() - started:.0f} s.")
        if failed:
            raise typer.Exit(1)


@app.command()
def ingest(
    file: Annotated[
        Path | None, typer.Argument(help="CSV, JSONL, JSON or Parquet, also gzipped.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Only this one of the sources in the settings.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the source: lower case; becomes part of batch keys.")
    ] = None,
    hub: Annotated[str | None, typer.Option(help="A dataset on the Hub instead of a file.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="A known shape: beavertails, alpagasus.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the Hub dataset.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Column that holds the prompt.")] = None,
    category_column: Annotated[
        str | None, typer.Option(help="Column that holds a category.")
    ] = None,
    licence_column: Annotated[str | None, typer.Option(help="Column that holds a licence.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of all rows.")] = None,
    limit: Annotated[int | None, typer.Option(help="Rows to read at most.", min=1)] = None,
) -> None:
    """Take new prompts in; without a file or dataset, from the sources of the settings."""
    with explained(), open_instance() as instance:
        columns = {"prompt": prompt_column, "category": category_column, "licence": licence_column}
        spec: dict[str, Any] = {
            "name": name
            or preset
            or _slug(file.name.split(".")[0] if file else (hub or "").rpartition("/")[2]),
            "path": str(file.absolute()) if file else None,
            "hub": hub,
            "preset": preset,
            "revision": revision,
            "columns": {key: value for key, value in columns.items() if value},
            "licence": licence,
            "limit": limit,
        }
        given = {key: value for key, value in spec.items() if value}
        if given and not (file or hub or preset):
            raise SetupError(
                f"{', '.join(given)}: of which source? Name a file, --hub or --preset; --source goes alone"
            )
        if source:
            given = _configured(source)
        if given:
            load_settings(overrides={"sources": [given]}, overrides_from="command line")
        config = {"ops": {"ingest_prompts": {"config": {"sources": [given]}}}} if given else None
        if not _ingest(instance, config).success:
            raise typer.Exit(2)
        console.print(shown.batch_table(instance, Lake(load_settings().settings.lake)))


@app.command()
def backfill(
    batches: Annotated[
        list[str] | None, typer.Argument(help="Batch keys; none: all that are not finished.")
    ] = None,
) -> None:
    """Take batches through every stage and gate, one run each. What is in the journal is not asked again."""
    with explained(), open_instance() as instance:
        settings = load_settings().settings
        _tell_engine(settings)
        runs = _backfill(instance, settings, batches)
        console.print(shown.batch_table(instance, Lake(settings.lake)))
        if any(not run.success for run in runs):
            raise typer.Exit(1)


@app.command()
def status() -> None:
    """Rows, failures and gates of every batch."""
    with explained(), open_instance() as instance:
        settings = load_settings().settings
        lake = Lake(settings.lake)
        console.print(shown.batch_table(instance, lake), shown.summary(instance, lake))


@app.command()
def show(
    prompt_id: Annotated[str, typer.Argument(help="As in any table's prompt_id column.")],
) -> None:
    """One prompt's whole story: who added which thought, what was dropped and why, at what cost."""
    with explained():
        pages = list(shown.story(lake := Lake(load_settings().settings.lake), prompt_id))
        for page in pages:
            console.print(page)
        if pages:
            return
        batch = shown.batch_of(lake, prompt_id)
        if batch is None:
            raise SetupError(
                f"no prompt '{prompt_id}' in {lake.root}; ids are in the column prompt_id of every table"
            )
        console.print(f"Prompt {prompt_id} waits in batch {batch}: run `aidsafe backfill {batch}`.")


@app.command()
def doctor() -> None:
    """Print the settings in force and where they came from, and probe what they name."""
    with explained():
        loaded = load_settings()
        values = Table("setting", "value", "from", title="Settings in force")
        for key, value, origin in doctoring.values_in_force(loaded):
            values.add_row(
                key, escape(value), origin if origin == "default" else f"[bold]{escape(origin)}[/]"
            )
        console.print(values)
        findings = list(doctoring.examine(loaded.settings))
        for finding in findings:
            mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}[finding.ok]
            console.print(
                f"{mark} [bold]{finding.what}[/] {escape(finding.detail)}",
                highlight=False,
                soft_wrap=True,
            )
        if any(finding.ok is False for finding in findings):
            raise typer.Exit(1)


app.command()(train)
app.command()(export)
app.command("check-template")(check_chat_template)
app.command()(publish)
app.command()(plan)
app.command()(evaluate)


def _configured(name: str) -> dict[str, Any]:
    """A source of the settings, by its name."""
    sources = {source.name: source for source in sources_of(load_settings().settings)}
    if name not in sources:
        raise unknown("source", name, sources, "ingest --source")
    return sources[name].model_dump(mode="json", exclude_none=True)


def _slug(text: str) -> str:
    """A source's name from a file's: lower case, digits, underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]


def _sample(per_source: int) -> list[dict[str, Any]]:
    return [{"name": s.name, "path": str(s.path), "limit": per_source} for s in bundled_sources()]


def _tell_engine(settings: Settings) -> None:
    """Says who will answer, once policies, templates and engine are known to be usable."""
    build_dialogue_context(settings, make_engine(settings))
    if settings.engine == "rehearsal":
        console.print(shown.REHEARSAL)
    elif settings.engine == "vllm":
        console.print(f"Engine: vLLM with {settings.vllm.model} on this machine", markup=False)
    else:
        console.print(
            f"Engine: {settings.endpoint.model} at {settings.endpoint.base_url}", markup=False
        )


def _ingest(instance: dg.DagsterInstance, config: dict[str, Any] | None) -> BatchRun:
    with console.status("Ingesting prompts …"):
        run = run_job(instance, "ingest_sources", config=config)
    if run.success:
        console.print(shown.ingestion(run.shown))
    else:
        complain("Error", run.error)
    return run


def _backfill(
    instance: dg.DagsterInstance, settings: Settings, wanted: list[str] | None
) -> list[BatchRun]:
    for run_id in report_dead_runs(instance):
        console.print(
            f"[yellow]Run {run_id[:8]} was killed earlier; its work goes on from the journal.[/]"
        )
    lake = Lake(settings.lake)
    known = instance.get_dynamic_partitions("batches")
    if missing := sorted(set(wanted or ()) - set(known)):
        raise unknown("batch", missing[0], known, "backfill")
    todo: Mapping[str, Sequence[Stage]] = dict.fromkeys(wanted or (), tuple(Stage))
    todo = todo or unfinished(instance, lake, settings, known)
    runs = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("batches", total=len(todo))
        for batch in claim_each(
            list(todo), settings, f"process {os.getpid()} (aidsafe backfill)", _tell_waiting
        ):
            progress.update(task, description=f"batch {batch}")
            left = (
                todo[batch] if wanted else unfinished(instance, lake, settings, [batch]).get(batch)
            )
            progress.advance(task)
            if left:
                runs.append(
                    run_job(instance, "make_batch", partition=batch, stages=left, is_held=True)
                )
            if left and not runs[-1].success:
                complain(f"✗ {batch}", runs[-1].error)
    made = len(runs)
    if todo:
        runs.append(run_job(instance, "build_reports"))
        if not runs[-1].success:
            complain("✗ reports", runs[-1].error)
    console.print(f"{made} batches run, {len(known) - made} were finished before.")
    return runs


def _tell_waiting(why: str) -> None:
    console.print(f"{why[0].upper()}{why[1:]}.", markup=False)


def _summarise(instance: dg.DagsterInstance, settings: Settings) -> None:
    lake = Lake(settings.lake)
    telling = shown.most_telling(lake)
    console.print()
    if telling:
        console.print(shown.deliberation(lake, telling))
    console.print(shown.summary(instance, lake))
    console.print(
        shown.places(settings, lake, os.path.relpath(sys.argv[0]), telling or "PROMPT_ID")
    )


if __name__ == "__main__":
    app()
