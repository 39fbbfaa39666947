"""`aidsafe train`: both adapters, as one run of the job `train_adapters` in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from aidsafe_dagster.cli.choices import Arm
from aidsafe_dagster.cli.console import (
    console,
    print_plain,
    print_problem,
    setup_errors_explained,
)
from aidsafe_dagster.cli.project_folder import shown

if TYPE_CHECKING:
    import dagster as dg

ADAPTERS = ("sft_adapter", "dpo_adapter")
_FACTS = (
    "rows",
    "rows_of",
    "steps",
    "train_loss",
    "eval_loss",
    "test_loss",
    "seconds",
    "dataset_version",
    "reused",
)


def train(
    model: Annotated[
        str, typer.Option(help="The base model, instead of the setting training.model.")
    ] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Train adapters again that are there already."),
    ] = False,
    rows: Annotated[
        Arm,
        typer.Option(
            help="Of the train split: all; those that `aidsafe select` chose; or the random "
            "draw beside them."
        ),
    ] = "all",
) -> None:
    """Train the SFT adapter, then the DPO adapter, on all batches that passed their gates."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.local_runs import open_instance, run_job
        from aidsafe_dagster.runs.liveness import report_dead_runs
        from aidsafe_dagster.settings.load import load_settings

        with open_instance() as instance:
            overrides = {"training": {"model": model}} if model else {}
            # Only to check them: a mistake in an option should leave no failed run behind.
            load_settings(overrides=overrides, overrides_from="command line")
            report_dead_runs(instance)
            with latest_log_line():
                config = _run_config(overrides, force=force, rows=rows)
                run = run_job(instance, "train_adapters", config=config)
            # Printed first, because the SFT adapter may be there although DPO failed.
            print_adapters(instance, run.run_id)
            if not run.success:
                print_problem("Error", run.error)
                raise typer.Exit(1)


def _run_config(overrides: dict[str, Any], *, force: bool, rows: Arm) -> dict[str, Any]:
    options = {"force": force, "rows": rows}
    return {
        "ops": {name: {"config": options} for name in ADAPTERS},
        "resources": {"settings": {"config": {"overrides": overrides}}},
    }


@contextmanager
def latest_log_line(
    module: str = "aidsafe_dagster.assets.adapters", what: str = "Training"
) -> Iterator[None]:
    """Show the latest line of a module's log on the terminal, while the block lasts."""

    class LatestLine(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            status.update(escape(record.getMessage()))

    handler = LatestLine(logging.INFO)
    # By its name, because importing the module reads the settings.
    log = logging.getLogger(module)
    level = log.level
    with console.status(f"{what} …") as status:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)


def print_adapters(instance: "dg.DagsterInstance", run_id: str) -> None:
    """Print the adapters that this run made, which may be none."""
    adapters = {}
    for name in ADAPTERS:
        facts = _materialized_facts(instance, name, run_id)
        if facts:
            adapters[name] = facts
    if not adapters:
        return
    console.print(_adapter_table(adapters))
    for name, facts in adapters.items():
        print_plain(f"{name}: {shown(facts['path'])}")


def _materialized_facts(
    instance: "dg.DagsterInstance", asset: str, run_id: str
) -> dict[str, Any]:
    """Return the metadata of what this run materialized; empty if it materialized nothing."""
    import dagster as dg

    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    # The latest one may be an earlier run's.
    if event is None or event.run_id != run_id:
        return {}
    materialization = event.asset_materialization
    if materialization is None:
        return {}
    return {name: value.value for name, value in materialization.metadata.items()}


def _adapter_table(adapters: dict[str, dict[str, Any]]) -> Table:
    table = Table("", *adapters, title="Adapters")
    for name in _FACTS:
        values = [facts.get(name) for facts in adapters.values()]
        # Without validation or test rows no adapter has their loss.
        is_known = any(value is not None for value in values)
        if is_known:
            table.add_row(name.replace("_", " "), *map(_cell, values))
    for facts in adapters.values():
        if "simulated" in facts:
            table.caption = escape(str(facts["simulated"]).strip("*"))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "·"
    # Before numbers, because a bool is an int in Python.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
