"""`aidsafe export | check-template | publish`: from finished batches to a trainer or to the Hub."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from aidsafe_dagster.cli.choices import FORMAT_NAMES, INSPECT, Arm, Reasoning, Split
from aidsafe_dagster.cli.chosen_batches import Batches, Sources, choose_batches
from aidsafe_dagster.cli.console import console, print_problem, setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here, from_here_if_there


def export(
    out: Annotated[
        Path, typer.Option("--out", help="The folder to write to.", callback=from_here)
    ],
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            help=f"One of {', '.join(FORMAT_NAMES)}; or {INSPECT}: logs to read in "
            "`inspect view`, failed rows included.",
        ),
    ] = "trl-sft",
    split: Annotated[
        Split | None, typer.Option(help="One split; without it, all three.")
    ] = None,
    file_kind: Annotated[
        Literal["parquet", "jsonl"] | None,
        typer.Option("--as", help="Without it, what the trainer usually takes."),
    ] = None,
    reasoning: Annotated[
        Reasoning | None,
        typer.Option(
            help="In think tags or in a field; without it, as publish.reasoning."
        ),
    ] = None,
    allow_simulated: Annotated[
        bool,
        typer.Option(
            "--allow-simulated",
            help="Rows of the rehearsal engine too; the files are named so.",
        ),
    ] = False,
    rows: Annotated[
        Arm,
        typer.Option(
            help="Of the train split: all; those that `aidsafe select` chose; or the random "
            "draw beside them."
        ),
    ] = "all",
    batches: Batches = None,
    sources: Sources = None,
) -> None:
    """Write the rows of all batches that passed their gates in a trainer's format."""
    with setup_errors_explained():
        if format_name == INSPECT:
            if file_kind or reasoning or rows != "all":
                raise typer.BadParameter(
                    "a log has one form; --as, --reasoning and --rows do not go with it",
                    param_hint="--format inspect",
                )
            from aidsafe_dagster.cli.inspect_export import export_inspect_logs

            export_inspect_logs(out, split=split, allow_simulated=allow_simulated)
            return
        from aidsafe_dagster.cli.local_runs import open_instance
        from aidsafe_dagster.cli.trainer_files import export_batches

        with open_instance() as instance:
            export_batches(
                instance,
                out,
                format_name=format_name,
                split=split,
                file_kind=file_kind,
                reasoning=reasoning,
                allow_simulated=allow_simulated,
                rows_of=rows,
                batches=batches,
                sources=sources,
            )


def check_chat_template(
    place: Annotated[
        str,
        typer.Argument(
            help="A tokenizer's folder, a template's file, or a model on the Hub.",
            callback=from_here_if_there,
        ),
    ],
    rows: Annotated[int, typer.Option(help="Rows to render at most.", min=1)] = 200,
    reasoning: Annotated[
        Reasoning | None, typer.Option(help="Without it, as publish.reasoning.")
    ] = None,
) -> None:
    """Render rows through a model's chat template, and say whether the reasoning arrives."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.template_report import report_on_template
        from aidsafe_dagster.settings.load import load_settings

        settings = load_settings().settings
        report = report_on_template(settings, place, rows)
        if not report.survives(reasoning or settings.publish.reasoning):
            raise typer.Exit(1)


def publish(
    send: Annotated[
        bool,
        typer.Option(
            "--send", help="Send it to the Hub; without it, a folder is written."
        ),
    ] = False,
    repo: Annotated[
        str, typer.Option(help="'<owner>/<name>', instead of the setting publish.repo.")
    ] = "",
    allow_simulated: Annotated[
        bool,
        typer.Option(
            "--allow-simulated",
            help="Without --send: rows of the rehearsal engine too, labelled.",
        ),
    ] = False,
    batches: Batches = None,
    sources: Sources = None,
) -> None:
    """Make the dataset with its card from all batches that passed; a dry run without --send."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.local_runs import open_instance, run_job
        from aidsafe_dagster.cli.trainer_files import published_table

        with open_instance() as instance:
            known = instance.get_dynamic_partitions("batches")
            options = {
                "dry_run": not send,
                "repo": repo,
                "allow_simulated": allow_simulated,
                "batches": [*choose_batches(known, batches, sources, "publish")],
            }
            config = {"ops": {"published_dataset": {"config": options}}}
            # An upload has progress bars of its own, which a spinner would tear apart.
            waiting = nullcontext() if send else console.status("Writing the dataset …")
            with waiting:
                run = run_job(instance, "publish", config=config)
            if not run.success:
                print_problem("Error", run.error)
                raise typer.Exit(1)
            console.print(published_table(run, was_sent=send))
