"""`aidsafe evaluate`: the safety evaluation, as one run of the job `evaluate_models` in this process."""

import os
from typing import Annotated, Any

import typer
from rich.markdown import Markdown

from aidsafe_dagster.cli.console import complain, console, explained
from aidsafe_dagster.cli.local_runs import open_instance, run_job
from aidsafe_dagster.recipe.templates import SAFETY_EVAL
from aidsafe_dagster.runs.liveness import report_dead_runs


def evaluate(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names in evaluation.models; none: all of them.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(help="Prompts of each benchmark, 0: all; else evaluation.sample.", min=0),
    ] = None,
) -> None:
    """Test models on BeaverTails, WildChat, StrongREJECT, XSTest and MMLU; what was answered is not asked again."""
    with explained(), open_instance() as instance:
        report_dead_runs(instance)
        with console.status("Evaluating …"):
            run = run_job(instance, "evaluate_models", config=_config(models, sample))
        if not run.success:
            complain("Error", run.error)
            raise typer.Exit(1)
        console.print(Markdown(run.shown["results"].value))
        for name in ("markdown", "parquet"):
            path = os.path.relpath(run.shown[name].value)
            console.print(path, markup=False, highlight=False, soft_wrap=True)


def _config(models: list[str] | None, sample: int | None) -> dict[str, Any]:
    config: dict[str, Any] = {"candidates": models or []} | (
        {} if sample is None else {"sample": sample}
    )
    return {"ops": {SAFETY_EVAL: {"config": config}}}
