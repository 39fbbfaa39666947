"""`aidsafe evaluate`: the safety evaluation, as one run of the job `evaluate_models`."""

from typing import Annotated, Any

import typer

from aidsafe_dagster.cli.console import (
    console,
    print_plain,
    print_problem,
    setup_errors_explained,
)
from aidsafe_dagster.cli.project_folder import shown


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Names in evaluation.models; none: all of them."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            help="Prompts of each benchmark, 0: all; else evaluation.sample.", min=0
        ),
    ] = None,
) -> None:
    """Test models on BeaverTails, WildChat, StrongREJECT, XSTest and MMLU, and on held-out rows.

    What was answered before is not asked again.
    """
    with setup_errors_explained():
        from rich.markdown import Markdown

        from aidsafe_dagster.cli.local_runs import open_instance, run_job
        from aidsafe_dagster.runs.liveness import report_dead_runs

        with open_instance() as instance:
            # A killed run counts as running until some command reports it.
            report_dead_runs(instance)
            config = _run_config(models, sample)
            with console.status("Evaluating …"):
                run = run_job(instance, "evaluate_models", config=config)
            if not run.success:
                print_problem("Error", run.error)
                raise typer.Exit(1)
            for name in ("results", "form", "held_out"):
                if name in run.metadata:
                    console.print(Markdown(run.metadata[name].value))
            for name in ("markdown", "parquet"):
                print_plain(shown(run.metadata[name].value))


def _run_config(models: list[str] | None, sample: int | None) -> dict[str, Any]:
    from aidsafe_dagster.recipe.templates import SAFETY_EVAL

    config: dict[str, Any] = {"candidates": models or []}
    # Left out and not None, so that the asset takes the sample of the settings.
    if sample is not None:
        config["sample"] = sample
    return {"ops": {SAFETY_EVAL: {"config": config}}}
