"""The command `aidsafe`: what it can do, and with which options.

`aidsafe --help` and `aidsafe show` must answer at once, so the modules of the commands import only
what their options need. Everything else is imported where a command begins its work.
"""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.ablate import app as ablate_app
from aidsafe_dagster.cli.chosen_batches import Batches, Sources, choose_batches
from aidsafe_dagster.cli.compare import compare, versions
from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    setup_errors_explained,
)
from aidsafe_dagster.cli.demo import demo
from aidsafe_dagster.cli.dev import dev
from aidsafe_dagster.cli.engine import app as engine_app
from aidsafe_dagster.cli.evaluate import evaluate
from aidsafe_dagster.cli.export import check_chat_template, export, publish
from aidsafe_dagster.cli.failures import failures
from aidsafe_dagster.cli.find import find
from aidsafe_dagster.cli.forget import forget
from aidsafe_dagster.cli.generation import app as generation_app
from aidsafe_dagster.cli.help_text import fill_help
from aidsafe_dagster.cli.init import init
from aidsafe_dagster.cli.journal import app as journal_app
from aidsafe_dagster.cli.plan import plan
from aidsafe_dagster.cli.policy import app as policy_app
from aidsafe_dagster.cli.project_folder import (
    ProjectGroup,
    choose_project,
    from_here,
    program_for_project,
)
from aidsafe_dagster.cli.prompts import app as prompts_app
from aidsafe_dagster.cli.review import app as review_app
from aidsafe_dagster.cli.select import select
from aidsafe_dagster.cli.train import train
from aidsafe_dagster.cli.translate import translate
from aidsafe_dagster.cli.try_command import try_prompts
from aidsafe_dagster.cli.view import view
from aidsafe_dagster.primitives.collection import collect_rarely

app = typer.Typer(
    cls=ProjectGroup,
    help="Policy-embedded chain-of-thought data by multi-agent deliberation.",
    no_args_is_help=True,
    # Local variables may hold keys and the texts of users.
    pretty_exceptions_show_locals=False,
)


def _print_version(is_wanted: bool) -> None:
    # Called for every command, also where the option is not given.
    if not is_wanted:
        return
    from importlib.metadata import version

    typer.echo(f"aidsafe_dagster {version('aidsafe_dagster')}")
    raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version, and exit.",
        ),
    ] = False,
    project: Annotated[
        Path | None,
        typer.Option(
            help="The project's folder; else DAGSTER_HOME, or the one around this folder.",
            callback=from_here,
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Policy-embedded chain-of-thought data by multi-agent deliberation."""
    collect_rarely()
    choose_project(project)


@app.command()
def ingest(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="CSV, JSONL, JSON or Parquet, also compressed; or a folder of them.",
            callback=from_here,
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Only this source of the settings.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the source: lower case; becomes part of batch keys."
        ),
    ] = None,
    hub: Annotated[
        str | None, typer.Option(help="A dataset on the Hub instead of a file.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A known shape: beavertails, alpagasus.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Revision of the Hub dataset.")
    ] = None,
    files: Annotated[
        str | None,
        typer.Option(
            help="Glob of the files in the dataset or folder: 'data/*.jsonl'."
        ),
    ] = None,
    prompt_column: Annotated[
        str | None, typer.Option(help="Column that holds the prompt.")
    ] = None,
    category_column: Annotated[
        str | None, typer.Option(help="Column that holds a category.")
    ] = None,
    licence_column: Annotated[
        str | None, typer.Option(help="Column that holds a licence.")
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(help="Column that holds ids of your own; kept as own_id."),
    ] = None,
    response_column: Annotated[
        str | None,
        typer.Option(
            help="Column of the source's own answers; kept as original_response."
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="What separates the fields of a CSV file; else found out."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of the text; else found out.")
    ] = None,
    turn: Annotated[
        str | None,
        typer.Option(
            help="What is taken of a chat transcript: conversation (all up to the user's last "
            "turn), or the first or last turn alone."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of all rows.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Rows to read at most.", min=1)
    ] = None,
) -> None:
    """Take new prompts in; without a file or dataset, from the sources of the settings."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.batches import print_batches
        from aidsafe_dagster.cli.ingest import (
            check_source,
            configured_source,
            made_up_name,
            run_ingestion,
            source_from_options,
        )
        from aidsafe_dagster.cli.local_runs import open_instance

        with open_instance() as instance:
            # By field of a source, which the settings name likewise.
            columns = {
                "prompt": prompt_column,
                "category": category_column,
                "licence": licence_column,
                "id": id_column,
                "response": response_column,
            }
            spec = source_from_options(
                file=file,
                name=name,
                hub=hub,
                preset=preset,
                revision=revision,
                files=files,
                delimiter=delimiter,
                encoding=encoding,
                turn=turn,
                columns=columns,
                licence=licence,
                limit=limit,
            )
            if source:
                # A source in the settings is complete, and takes no other options.
                spec = configured_source(source)
            if spec:
                # Before there is a run: a mistake in an option should leave no failed run behind.
                check_source(spec)
            if not run_ingestion(instance, [spec] if spec else []).success:
                raise typer.Exit(2)
            if made_up := made_up_name(spec, name or source):
                print_plain(
                    f"The source is called {made_up}; --name names it otherwise."
                )
            print_batches(instance)


@app.command()
def backfill(
    batches: Annotated[
        list[str] | None,
        typer.Argument(help="Batch keys; none: all that are not finished."),
    ] = None,
    *,
    more_batches: Batches = None,
    sources: Sources = None,
    keep_recipe: Annotated[
        bool,
        typer.Option(
            "--keep-recipe",
            help="Leave stages that were made under another recipe as they are; "
            "what is made on top of them is mixed, and says so.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Begin without being asked.")
    ] = False,
) -> None:
    """Take batches through every stage and gate, one run each, and ask nothing twice.

    Every completion is in the journal, so work that was cut off goes on where it stopped. Stages
    that were made under other policies, templates, models or settings are made again.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.batches import (
            announce_engine,
            print_batches,
            print_unfinished,
            run_backfill,
        )
        from aidsafe_dagster.cli.local_runs import open_instance
        from aidsafe_dagster.settings.load import load_settings

        with open_instance() as instance:
            # Not set here is not the same as set to false: the settings may say it.
            overrides = {"keep_recipe": True} if keep_recipe else {}
            settings = load_settings(
                overrides=overrides, overrides_from="command line"
            ).settings
            announce_engine(settings)
            known = instance.get_dynamic_partitions("batches")
            keys = [*(batches or ()), *(more_batches or ())]
            wanted = choose_batches(known, keys, sources, "backfill")
            runs = run_backfill(instance, settings, wanted, is_agreed=yes)
            print_batches(instance)
            print_unfinished(settings, runs, program_for_project())
            if not all(run.success for run in runs):
                raise typer.Exit(1)


@app.command()
def status() -> None:
    """Print the rows, failures and gates of every batch."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.batch_table import batch_table
        from aidsafe_dagster.cli.overview import summary
        from aidsafe_dagster.cli.recorded_gates import open_gates
        from aidsafe_dagster.lake.lake import Lake
        from aidsafe_dagster.settings.load import load_settings
        from aidsafe_dagster.settings.snapshot import take_snapshot
        from aidsafe_dagster.stages.known_lake import FACTS_FILE, KnownLake

        settings = load_settings().settings
        lake = KnownLake(Lake(settings.lake), settings.home / FACTS_FILE)
        with console.status("Reading …") as reading:
            for done, count in lake.read_all():
                reading.update(f"Reading {done:,} of {count:,} files that are new …")
        snapshot = take_snapshot(settings)
        with open_gates(lake) as read_gate:
            print_paragraph(f"Project: {Path.cwd()}")
            table = batch_table(read_gate, lake, snapshot)
            overview = summary(read_gate, lake, settings.currency, snapshot)
            console.print(table, overview, highlight=False)


@app.command()
def show(
    prompt_id: Annotated[
        str,
        typer.Argument(
            help="As in any table's prompt_id column, or as much of it as is unique; or "
            "an id of your own."
        ),
    ],
) -> None:
    """Print one prompt's whole story: who added which thought, what was dropped, and why."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.story import prompt_page, read_story
        from aidsafe_dagster.lake.lake import Lake
        from aidsafe_dagster.settings.load import load_settings
        from aidsafe_dagster.viewer.prompt_ids import find_prompt

        settings = load_settings().settings
        asked = prompt_id
        place = find_prompt(Lake(settings.lake), asked)
        prompt_id, batch = place.prompt_id, place.batch
        if place.translation_into:
            print_plain(
                f"{asked} is a translation into {place.translation_into}, of {prompt_id}."
            )
        elif not prompt_id.startswith(asked):
            print_plain(f"{asked} is prompt {prompt_id}.")
        console.print(prompt_page(place))
        # A prompt may be ingested and not yet made, and then it has no pages.
        pages = 0
        for page in read_story(settings, batch, prompt_id):
            console.print(page)
            pages += 1
        if not pages:
            console.print(
                f"Prompt {prompt_id} waits in batch {batch}: run `aidsafe backfill {batch}`."
            )


@app.command()
def doctor(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Show the defaults too.")
    ] = False,
    trial: Annotated[
        bool,
        typer.Option(
            "--try",
            help="Send each server some requests of a few tokens, to see what it takes.",
        ),
    ] = False,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="With --try: put what follows into the settings file."
        ),
    ] = False,
) -> None:
    """Print the settings in force and where they came from, and probe what they name."""
    if write and not trial:
        raise typer.BadParameter("--write needs --try", param_hint="--write")
    with setup_errors_explained():
        from aidsafe_dagster.cli.doctor import examine, print_finding, print_settings
        from aidsafe_dagster.settings.load import load_settings

        loaded = load_settings()
        print_settings(loaded, with_defaults=everything)
        problems = 0
        for finding in examine(loaded.settings):
            print_finding(finding)
            # None means unknown or not needed, which is no problem.
            problems += finding.ok is False
        if trial:
            from aidsafe_dagster.cli.doctor_trial import try_servers

            problems += not try_servers(loaded, write=write)
        if problems:
            raise typer.Exit(1)


app.command("try")(try_prompts)
app.command()(init)
app.command()(demo)
app.command()(view)
app.command()(find)
app.command()(compare)
app.command()(versions)
app.command()(failures)
app.command()(forget)
app.command()(select)
app.command()(train)
app.command()(export)
app.command("check-template")(check_chat_template)
app.command()(publish)
app.command()(plan)
app.command()(dev)
app.command()(evaluate)
app.command()(translate)
app.add_typer(ablate_app, name="ablate")
app.add_typer(generation_app, name="generation")
app.add_typer(engine_app, name="engine")
app.add_typer(journal_app, name="journal")
app.add_typer(policy_app, name="policy")
app.add_typer(prompts_app, name="prompts")
app.add_typer(review_app, name="review")
fill_help(app)


if __name__ == "__main__":
    app()
