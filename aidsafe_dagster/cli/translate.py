"""`aidsafe translate`: the training rows in other languages, as one run of the job `translate`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aidsafe_dagster.cli.chosen_batches import Batches, Sources, choose_batches
from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    print_problem,
    setup_errors_explained,
)

if TYPE_CHECKING:
    from aidsafe_dagster.cli.local_runs import BatchRun

_MOST_SHOWN = 5


def translate(
    to: Annotated[
        list[str],
        typer.Option("--to", help="Code of a language (de, zh, ar); may be repeated."),
    ],
    batches: Batches = None,
    sources: Sources = None,
) -> None:
    """Put the rows of the train split into other languages, reasoning included.

    Exports, releases and training take them in. What was translated before is not asked again.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.batches import announce_engine
        from aidsafe_dagster.cli.local_runs import open_instance, run_job
        from aidsafe_dagster.lake.lake import Lake
        from aidsafe_dagster.recipe.errors import unknown
        from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES
        from aidsafe_dagster.runs.liveness import report_dead_runs
        from aidsafe_dagster.settings.load import load_settings
        from aidsafe_dagster.sources.tables import INGESTED

        settings = load_settings().settings
        for language in to:
            if language not in LANGUAGE_NAMES:
                raise unknown("language", language, LANGUAGE_NAMES, "translate")
        known = Lake(settings.lake).batches(INGESTED)
        chosen = choose_batches(known, batches, sources, "translate")
        config = {"languages": to, "batches": list(chosen)}
        announce_engine(settings)
        with open_instance() as instance:
            # A killed run counts as running until some command reports it.
            report_dead_runs(instance)
            with console.status("Translating …"):
                run = run_job(
                    instance,
                    "translate",
                    config={"ops": {"translations": {"config": config}}},
                )
        if not run.success:
            print_problem("Error", run.error)
            raise typer.Exit(1)
        _print_run(run, settings.currency)


def _print_run(run: "BatchRun", currency: str) -> None:
    from rich.table import Table

    from aidsafe_dagster.cli.spending import describe_spending

    table = Table(title="Translations of the train split", padding=(0, 1))
    lines = _records(run, "translated")
    columns = ("batch", "to", "prompts", "in it", "rows", "pairs", "failed")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    for line in lines:
        table.add_row(*(str(value) for value in line.values()))
    console.print(table)
    failed = _records(run, "failed_rows")
    for line in failed[:_MOST_SHOWN]:
        print_paragraph(f"✗ {line['prompt_id']} {line['reason']}: {line['detail']}")
    if len(failed) > _MOST_SHOWN:
        print_plain(f"and {len(failed) - _MOST_SHOWN:,} more, in the run's metadata")
    if any(line["reason"] == "contaminated" for line in failed):
        print_paragraph(
            "A prompt whose translation is in an evaluation set says the same in other words, "
            "so it is left out of exports, releases and training as well."
        )
    print_paragraph(f"This took {describe_spending(run.spending, currency)}.")
    is_any_due = any(line["prompts"] > line["already"] for line in lines)
    if is_any_due and not any(line["rows"] for line in lines):
        print_problem(
            "Error",
            "nothing was translated; the same command asks the failed rows again",
        )
        raise typer.Exit(1)


def _records(run: "BatchRun", name: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in run.metadata[name].records]
