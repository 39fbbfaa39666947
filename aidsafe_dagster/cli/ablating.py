"""One experiment from the command line: what it will do, its run, and what came of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import typer

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.ablations.experiment import TARGETS
from aidsafe_dagster.cli.ablation_output import print_forecasts, print_result
from aidsafe_dagster.cli.batches import announce_engine, report_killed_runs
from aidsafe_dagster.cli.chosen_batches import choose_batches
from aidsafe_dagster.cli.console import print_paragraph, print_plain, print_problem
from aidsafe_dagster.cli.live_run import LiveRun, on_screen
from aidsafe_dagster.cli.local_runs import BatchRun, open_instance, run_job
from aidsafe_dagster.cli.preview import agree
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.spending import describe_spending
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.reports.outlook import Outlook
from aidsafe_dagster.settings.launchpad import configured_in_shell
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.stages.ablation import sample_prompts
from aidsafe_dagster.stages.ablation_forecast import (
    Forecast,
    forecast_searches,
    forecast_variants,
)
from aidsafe_dagster.stages.ablation_plans import (
    AblationConfig,
    ModelsConfig,
    RoundTableConfig,
    TargetsConfig,
    nothing_to_search,
    plan_variants,
    target_roles,
)
from aidsafe_dagster.stages.progress_log import describe_seconds
from aidsafe_dagster.stages.target_searches import read_chosen_sides

ConfigOf = Callable[[Settings], Mapping[str, object]]
_CONFIGS: Mapping[str, type[AblationConfig]] = {
    "round_table": RoundTableConfig,
    "models": ModelsConfig,
    TARGETS: TargetsConfig,
}
"""By kind of experiment; the others take a sample alone."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    kind: str
    """Of the experiment, as in `ablate_<kind>`."""
    config_of: ConfigOf
    """Returns the configuration of its asset, besides sample and batches."""
    sample: int | None
    batches: Sequence[str]
    sources: Sequence[str]


def run_experiment(request: Request, *, is_agreed: bool) -> None:
    """Say what the experiment will do, run it, and print its table.

    Args:
        request: the experiment.
        is_agreed: do not ask before it begins.

    Raises:
        SetupError: there is no such batch, no such model, or nothing to take a sample from.
        typer.Exit: the run failed, or somebody said no.
    """
    with open_instance() as instance, configured_in_shell():
        report_killed_runs(instance)
        settings = load_settings().settings
        announce_engine(settings)
        lake = Lake(settings.lake)
        config = _config(request, settings, instance)
        sample = sample_prompts(lake, config, settings)
        forecasts = _forecasts(request.kind, settings, config, sample, lake)
        print_forecasts(request.kind, forecasts, sample, settings)
        agree(settings, {request.kind: ()}, is_agreed=is_agreed)
        run = _run(instance, settings, request.kind, config, forecasts, len(sample))
        if not run.success:
            spent = describe_spending(run.spending, settings.currency)
            print_problem("Error", f"{run.error}\nFinished: {spent}")
            raise typer.Exit(1)
        _print_outcome(instance, settings, run)


def _config(
    request: Request, settings: Settings, instance: dg.DagsterInstance
) -> AblationConfig:
    known = instance.get_dynamic_partitions("batches")
    batches = choose_batches(known, request.batches, request.sources, "ablate")
    config_class = _CONFIGS.get(request.kind, AblationConfig)
    values: dict[str, Any] = {
        "sample": request.sample or settings.ablation.sample,
        "batches": list(batches),
        **request.config_of(settings),
    }
    return config_class(**values)


def _forecasts(
    kind: str,
    settings: Settings,
    config: AblationConfig,
    sample: Sequence[Prompt],
    lake: Lake,
) -> list[Forecast]:
    snapshot = take_snapshot(settings)
    if isinstance(config, TargetsConfig):
        sides = read_chosen_sides(lake, sample)
        if not sides:
            raise nothing_to_search()
        roles = target_roles(settings, config.targets)
        return forecast_searches(snapshot, roles, sample, sides)
    plan = plan_variants(kind, settings, config)
    return forecast_variants(snapshot, plan, sample)


@dataclass
class _ExperimentRun(LiveRun):
    """An experiment on the terminal: its heading names the variant."""

    variants: Sequence[str] = field(default_factory=tuple)

    @property
    def variant(self) -> str:
        """The variant that is being asked, as far as a reading tells."""
        title = self.reading.title if self.reading else ""
        # A variant's name may begin another one's.
        for name in sorted(self.variants, key=len, reverse=True):
            if title.startswith(name):
                place = f"{list(self.variants).index(name) + 1} of {len(self.variants)}"
                return f"variant {place}: {name}"
        return ""

    def heading(self) -> str:
        elapsed = describe_seconds(time.monotonic() - self.started)
        return " · ".join(part for part in (self.title, self.variant, elapsed) if part)


def _run(
    instance: dg.DagsterInstance,
    settings: Settings,
    kind: str,
    config: AblationConfig,
    forecasts: Sequence[Forecast],
    prompts: int,
) -> BatchRun:
    # Nothing is expected of the cost: the preview has said the most.
    outlook = Outlook(0, simulated=settings.engine == "rehearsal", stages={})
    live_run = _ExperimentRun(
        title=f"ablate {kind.replace('_', '-')}",
        place="",
        stages=(),
        prompts=prompts,
        outlook=outlook,
        currency=settings.currency,
        variants=tuple(forecast.name for forecast in forecasts),
    )
    ops = {f"ablation_{kind}": {"config": config.model_dump()}}
    with on_screen(live_run) as note_event:
        return run_job(
            instance, f"ablate_{kind}", config={"ops": ops}, on_event=note_event
        )


def _print_outcome(
    instance: dg.DagsterInstance, settings: Settings, run: BatchRun
) -> None:
    name = str(run.metadata["experiment"].value)
    result = ExperimentArchive(settings.home).result(name)
    print_result(result, settings)
    spent = describe_spending(run.spending, settings.currency)
    print_paragraph(f"This took {spent}.")
    print_plain(f"Page: {shown(run.metadata['html'].value)}")
    print_plain(f"Rows: {shown(run.metadata['path'].value)}")
    # The experiment is a section of it.
    report = run_job(instance, "build_reports", stages=["quality_report"])
    if not report.success:
        print_problem("✗ quality report", report.error)
        raise typer.Exit(1)
    place = shown(report.metadata["html"].value)
    print_plain(f"In the quality report: {place}")
