"""One comparison of trainings from the command line: its run, and a table of what came of it."""

from collections.abc import Mapping
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    print_problem,
    quantity,
)
from aidsafe_dagster.cli.local_runs import open_instance, run_job
from aidsafe_dagster.cli.preview import agree
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.train import latest_log_line
from aidsafe_dagster.evaluation.arm_report import (
    QUESTIONS,
    format_points,
    missing_lines,
    simulation_note,
)
from aidsafe_dagster.evaluation.arms import (
    OVER_REFUSAL,
    ArmArchive,
    ArmComparison,
    ComparedArms,
    MeasuredArms,
    measure_arms,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.reports.sections import format_estimate, format_percentage
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.role_servers import server_of
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.arms import (
    DEFAULT_SHARES,
    Plan,
    benchmarks_of,
    plan_over_refusal,
    plan_table_2,
    read_inputs,
)
from aidsafe_dagster.training.arms import Arm


def run_comparison(kind: str, config: Mapping[str, Any], *, is_agreed: bool) -> None:
    """Say which arms will be trained and asked, do it, and print the table.

    Args:
        kind: "training" or "over-refusal".
        config: of the asset.
        is_agreed: do not ask before it begins.

    Raises:
        SetupError: the settings are not valid, or there is nothing to train on.
        typer.Exit: the run failed, or somebody said no.
    """
    name = kind.replace("-", "_")
    with open_instance() as instance:
        settings = load_settings().settings
        report_dead_runs(instance)
        inputs = read_inputs(instance, Lake(settings.lake), settings)
        if kind == OVER_REFUSAL:
            plan = plan_over_refusal(inputs, config.get("shares", DEFAULT_SHARES))
        else:
            plan = plan_table_2(inputs)
        print_plan(plan, settings, config.get("sample"))
        agree(settings, {kind: ()}, is_agreed=is_agreed)
        ops = {f"comparison_{name}": {"config": dict(config)}}
        with latest_log_line("aidsafe_dagster.stages.arms", f"ablate {kind}"):
            run = run_job(instance, f"ablate_{name}", config={"ops": ops})
        if not run.success:
            print_problem("Error", run.error)
            raise typer.Exit(1)
        compared = ArmArchive(settings.home).read(run.metadata["comparison"].value)
        print_comparison(compared)
        print_plain(f"Page: {shown(run.metadata['html'].value)}")
        print_plain(f"Answers: {shown(run.metadata['path'].value)}")
        # The comparison is a section of it.
        report = run_job(instance, "build_reports", stages=["quality_report"])
        if not report.success:
            print_problem("✗ quality report", report.error)
            raise typer.Exit(1)
        page = shown(report.metadata["html"].value)
        print_plain(f"In the quality report: {page}")


def print_plan(plan: Plan, settings: Settings, sample: int | None) -> None:
    """Print what will be trained, asked and graded.

    Args:
        plan: of the comparison.
        settings: in force.
        sample: prompts of each benchmark, 0: all; None: as the settings say.
    """
    print_paragraph(QUESTIONS[plan.kind])
    print_paragraph(f"Trained on {settings.training.model}, on this machine:")
    for arm in plan.arms:
        print_paragraph(f"{arm.title}: {_what_is_trained(arm)}", indent=2)
    names = [spec.name for spec in benchmarks_of(plan, settings)]
    names.append("prompts of the test split")
    size = settings.evaluation.sample if sample is None else sample
    prompts = f"up to {quantity(size, 'prompt')}" if size else "all prompts"
    print_paragraph(f"Asked: {prompts} of each of {', '.join(names)}.")
    arms = sum(not arm.missing for arm in plan.arms)
    if size:
        most = quantity(arms * size * len(names), "answer")
        print_paragraph(f"Together at most {most}, written on this machine.")
    print_paragraph(
        f"Graded: each answer to a safety benchmark once, by {_judge(settings)}. "
        "What is trained or recorded already is not done again."
    )


def _what_is_trained(arm: Arm) -> str:
    if arm.missing:
        return f"left out: {arm.missing}"
    if arm.method is None:
        return "as it is"
    after = ", after SFT" if arm.after else ""
    return f"{arm.method.upper()} on {quantity(arm.train_rows, 'row')}{after}"


def _judge(settings: Settings) -> str:
    server = server_of(settings, Role.JUDGE)
    if server is None:
        return "the rehearsal judge, which is no model"
    return f"the judge ({server.model})"


def print_comparison(compared: ComparedArms) -> None:
    """Print the shares of every arm, what is missing, and what it cost."""
    comparison = compared.comparison
    for measured in measure_arms(compared):
        console.print(_measure_table(measured))
    print_paragraph(
        "95 % intervals; the difference is in points, from "
        f"{_title(comparison, comparison.reference)}, on the same prompts. Prompts without a "
        "result (none) are in the denominator."
    )
    console.print(_cost_table(comparison))
    for line in missing_lines(comparison):
        print_paragraph(line)
    note = simulation_note(comparison)
    if note:
        print_paragraph(f"SIMULATED: {note}")


def _measure_table(measured: MeasuredArms) -> Table:
    prompts = quantity(measured.prompts, "prompt")
    title = f"{measured.benchmark}: {measured.measure.name}, {prompts}"
    table = _table(title, "share", "difference", "none")
    for figure in measured.figures:
        table.add_row(
            Text(figure.arm.title),
            format_percentage(figure.share),
            format_estimate(figure.difference, format_points),
            f"{figure.failed:,}",
        )
    return table


def _cost_table(comparison: ArmComparison) -> Table:
    last = comparison.currency or "calls"
    table = _table("Training and cost", "rows", "trained, s", "tokens out", last)
    for arm in comparison.arms:
        cost = f"{arm.cost:.4f}" if comparison.currency else f"{arm.calls:,}"
        table.add_row(
            Text(arm.title),
            f"{arm.rows:,}",
            f"{arm.training_s:,.0f}",
            f"{arm.tokens_out:,}",
            cost,
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", overflow="fold", min_width=20)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _title(comparison: ArmComparison, name: str) -> str:
    return next(arm.title for arm in comparison.arms if arm.name == name)
