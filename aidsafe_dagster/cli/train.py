"""`aidsafe train`: both adapters, as one run of the job `train_adapters` in this process."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import dagster as dg
import typer
from rich.markup import escape
from rich.table import Table

from aidsafe_dagster.cli.console import complain, console, explained
from aidsafe_dagster.cli.local_runs import open_instance, run_job
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.settings.load import load_settings

ADAPTERS = ("sft_adapter", "dpo_adapter")
_SHOWN = (
    "rows",
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
        bool, typer.Option("--force", help="Train adapters again that are there already.")
    ] = False,
) -> None:
    """Train the SFT adapter, then the DPO adapter, on all batches that passed their gates."""
    with explained(), open_instance() as instance:
        overrides = {"training": {"model": model}} if model else {}
        load_settings(overrides=overrides, overrides_from="command line")
        report_dead_runs(instance)
        with _progress():
            run = run_job(instance, "train_adapters", config=_config(overrides, force=force))
        made = {name: shown for name in ADAPTERS if (shown := _shown(instance, name, run.run_id))}
        if made:
            console.print(_table(made))
            for name, shown in made.items():
                console.print(
                    f"{name}: {os.path.relpath(shown['path'])}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
        if not run.success:
            complain("Error", run.error)
            raise typer.Exit(1)


def _config(overrides: dict[str, Any], *, force: bool) -> dict[str, Any]:
    return {
        "ops": {name: {"config": {"force": force}} for name in ADAPTERS},
        "resources": {"settings": {"config": {"overrides": overrides}}},
    }


@contextmanager
def _progress() -> Iterator[None]:
    """The latest line of the training's log on the terminal, while it runs."""

    class Latest(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            status.update(escape(record.getMessage()))

    latest = Latest(logging.INFO)
    log = logging.getLogger("aidsafe_dagster.assets.adapters")  # importing it reads the settings
    before = log.level
    with console.status("Training …") as status:
        log.addHandler(latest)
        log.setLevel(logging.INFO)
        try:
            yield
        finally:
            log.removeHandler(latest)
            log.setLevel(before)


def _shown(instance: dg.DagsterInstance, asset: str, run_id: str) -> dict[str, Any]:
    """Metadata of what this run materialized; empty if it did not get so far."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    if event is None or event.run_id != run_id or event.asset_materialization is None:
        return {}
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def _table(made: dict[str, dict[str, Any]]) -> Table:
    found = Table("", *made, title="Adapters")
    for name in _SHOWN:
        if any(name in shown for shown in made.values()):
            found.add_row(
                name.replace("_", " "), *(_cell(shown.get(name)) for shown in made.values())
            )
    for shown in made.values():
        if "simulated" in shown:
            found.caption = escape(str(shown["simulated"]).strip("*"))
    return found


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "·" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
