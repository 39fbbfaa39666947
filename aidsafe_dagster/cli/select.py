"""`aidsafe select`: the best rows of the dataset, as one run of the job `select_rows`."""

from typing import Annotated, Any

import typer

from aidsafe_dagster.cli.chosen_batches import Batches, Sources, choose_batches
from aidsafe_dagster.cli.console import (
    console,
    print_plain,
    print_problem,
    setup_errors_explained,
)
from aidsafe_dagster.cli.project_folder import shown


def select(
    rows: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--rows",
            help="Rows to select; else the setting selection.rows.",
            min=1,
        ),
    ] = None,
    why: Annotated[
        str,
        typer.Option(
            help="Say what became of this prompt in the selection in force, and why."
        ),
    ] = "",
    batches: Batches = None,
    sources: Sources = None,
) -> None:
    """Select the best SFT rows: above a floor, diverse, balanced, hard ones first.

    Of the train split of all batches that passed their gates. No model is asked, unless the
    settings name one for embeddings.
    """
    with setup_errors_explained():
        if why:
            from aidsafe_dagster.cli.selection_output import explain

            explain(why)
            return
        from aidsafe_dagster.cli.local_runs import open_instance, run_job
        from aidsafe_dagster.cli.selection_output import print_selection

        with open_instance() as instance:
            known = instance.get_dynamic_partitions("batches")
            options: dict[str, Any] = {
                "batches": [*choose_batches(known, batches, sources, "select")]
            }
            # Left out and not None, so that the asset takes the number of the settings.
            if rows is not None:
                options["rows"] = rows
            config = {"ops": {"selected_rows": {"config": options}}}
            with console.status("Selecting …"):
                run = run_job(instance, "select_rows", config=config)
            if not run.success:
                print_problem("Error", run.error)
                raise typer.Exit(1)
            print_selection()
            for name in ("markdown", "parquet"):
                print_plain(shown(run.metadata[name].value))
