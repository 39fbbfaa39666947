"""One experiment from the command line: what it will do, its run, and a table of what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from aidsafe_dagster.cli.chosen_batches import choose_batches
from aidsafe_dagster.cli.console import print_plain, print_problem
from aidsafe_dagster.cli.local_runs import open_instance, run_job
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.runs.liveness import report_dead_runs


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    name: str
    """Of the experiment, as in `ablate_<name>`."""
    config: Mapping[str, Any]
    """Of its asset, besides sample and batches."""
    sample: int | None
    batches: Sequence[str]
    sources: Sequence[str]


def run_experiment(request: Request, *, is_agreed: bool) -> None:
    """Say what the experiment will do, run it, and print its table.

    Args:
        request: the experiment.
        is_agreed: do not ask before it begins.

    Raises:
        SetupError: there is no such batch, or nothing to take a sample from.
        typer.Exit: the run failed, or somebody said no.
    """
    with open_instance() as instance:
        report_dead_runs(instance)
        known = instance.get_dynamic_partitions("batches")
        batches = choose_batches(known, request.batches, request.sources, "ablate")
        config: dict[str, Any] = {"batches": list(batches), **request.config}
        if request.sample is not None:
            config["sample"] = request.sample
        asset = f"ablation_{request.name}"
        run = run_job(
            instance,
            f"ablate_{request.name}",
            config={"ops": {asset: {"config": config}}},
        )
        if not run.success:
            print_problem("Error", run.error)
            raise typer.Exit(1)
        print_plain(shown(run.metadata["path"].value))
