"""Batches from the command line: one run each through the whole recipe, and what came of them."""

import os
from collections.abc import Mapping, Sequence
from functools import partial

import dagster as dg

from aidsafe_dagster.cli.batch_table import batch_table
from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    print_problem,
    quantity,
)
from aidsafe_dagster.cli.engine_line import print_engine
from aidsafe_dagster.cli.live_run import LiveRun, on_screen
from aidsafe_dagster.cli.local_runs import (
    BatchRun,
    run_job,
    stages_not_done,
    unfinished,
)
from aidsafe_dagster.cli.overview import places_table, summary
from aidsafe_dagster.cli.preview import (
    agree,
    count_prompts,
    look_ahead,
    print_preview,
)
from aidsafe_dagster.cli.project_folder import program_for_project
from aidsafe_dagster.cli.recipe_changes import (
    print_recipe_changes,
    recipe_config,
    stages_of_named,
)
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.cli.story import most_telling_prompt, read_deliberation
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import all_upstream
from aidsafe_dagster.reports.outlook import Outlook
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
)
from aidsafe_dagster.runs.batch_claims import claim_each
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.stages.gates import read_gate


def announce_engine(settings: Settings) -> None:
    """Print which engine will answer, once policies, templates and engine are known to work.

    Raises:
        SetupError: one of them does not.
    """
    # Building them is the check, and nothing is ingested or made before it.
    make_dialogue_context(take_snapshot(settings), make_engine(settings))
    print_engine(settings)


def run_backfill(
    instance: dg.DagsterInstance,
    settings: Settings,
    wanted: Sequence[str],
    *,
    is_agreed: bool = False,
) -> list[BatchRun]:
    """Make the wanted batches, or all that are not finished, and then the reports.

    Args:
        instance: records the runs.
        settings: in force.
        wanted: batches; none: all that are not finished.
        is_agreed: do not ask before it begins.

    Raises:
        SetupError: there is no such batch; names the nearest one.
    """
    report_killed_runs(instance)
    known = instance.get_dynamic_partitions("batches")
    for batch in wanted:
        if batch not in known:
            raise unknown("batch", batch, known, "backfill")
    todo: Mapping[str, Sequence[str]]
    lake = Lake(settings.lake)
    print_recipe_changes(
        instance, lake, settings, wanted or known, are_named=bool(wanted)
    )
    # A batch that is named is made whole, even if it is finished: its failed rows are asked again.
    if wanted:
        todo = {batch: stages_of_named(lake, settings, batch) for batch in wanted}
    else:
        todo = unfinished(instance, lake, settings, known)
    outlook = look_ahead(instance, lake, settings)
    print_preview(lake, settings, todo, outlook)
    agree(settings, todo, is_agreed=is_agreed)
    runs = _run_batches(
        instance, settings, todo, all_stages=bool(wanted), outlook=outlook
    )
    # Both before the run of the reports joins the list.
    batches_run = len({run.batch for run in runs})
    spending = sum((run.spending for run in runs), Spending())
    # Reports cover all batches, so they are built once, after the last one.
    if todo and not any(run.was_ended_elsewhere for run in runs):
        reports = run_job(instance, "build_reports")
        runs.append(reports)
        if not reports.success:
            print_problem("✗ reports", reports.error)
    # A batch that is not among those that are named may well be unfinished.
    finished_before = len(wanted or known) - batches_run
    verb = "was" if finished_before == 1 else "were"
    console.print(
        f"{quantity(batches_run, 'batch')} run, {finished_before} {verb} finished before."
    )
    if batches_run:
        together = describe_spending(spending, settings.currency)
        print_paragraph(f"This took {together}.")
    return runs


def report_killed_runs(instance: dg.DagsterInstance) -> None:
    """Print which runs were killed earlier, and report them as failed."""
    for run_id in report_dead_runs(instance):
        # The first digits are what the web UI shows of a run's id.
        short_id = run_id[:8]
        console.print(
            f"[yellow]Run {short_id} was killed earlier; its work goes on from the journal.[/]"
        )


def print_batches(instance: dg.DagsterInstance) -> None:
    """Print the state of every batch."""
    settings = load_settings().settings
    lake = Lake(settings.lake)
    snapshot = take_snapshot(settings)
    table = batch_table(partial(read_gate, instance, lake), lake, snapshot)
    console.print(table, highlight=False)


def print_unfinished(
    settings: Settings, runs: Sequence[BatchRun], command: str
) -> None:
    """Print which runs did not finish, and how to go on. Nothing if all did.

    Args:
        settings: in force.
        runs: of the command.
        command: how this program is called for the project.
    """
    unfinished = {run.batch for run in runs if not run.success}
    if not unfinished:
        return
    names = ", ".join(sorted(unfinished))
    print_paragraph(f"Not finished: {names}. So this ends with exit code 1.")
    if settings.engine == "rehearsal":
        print_paragraph(
            "The rehearsal engine plants faults, and in a small batch one of them can close a gate."
        )
    print_plain(f"Why:         {command} failures")
    print_plain(f"Go on:       {command} backfill")
    print_paragraph("It asks the failed rows again, and nothing that was answered.")


def print_summary(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Print one deliberation, the sums over all batches, and where everything lies."""
    lake = Lake(settings.lake)
    prompt_id = most_telling_prompt(lake)
    console.print()
    if prompt_id:
        console.print(read_deliberation(lake, prompt_id))
    overview = summary(partial(read_gate, instance, lake), lake, settings.currency)
    console.print(overview)
    command = program_for_project()
    console.print(places_table(settings, lake, command, prompt_id or "PROMPT_ID"))


def _run_batches(
    instance: dg.DagsterInstance,
    settings: Settings,
    todo: Mapping[str, Sequence[str]],
    *,
    all_stages: bool,
    outlook: Outlook,
) -> list[BatchRun]:
    lake = Lake(settings.lake)
    holder = f"process {os.getpid()} (aidsafe backfill)"
    runs = []
    for number, batch in enumerate(
        claim_each(list(todo), settings, holder, _print_waiting), start=1
    ):
        stages = todo[batch]
        if not all_stages:
            # Another process may have finished the batch while this one waited for it.
            stages = unfinished(instance, lake, settings, [batch]).get(batch, ())
        if not stages:
            continue
        live_run = LiveRun(
            title=batch,
            place=f"{number} of {len(todo)}" if len(todo) > 1 else "",
            stages=tuple(stages),
            prompts=count_prompts(lake, batch),
            outlook=outlook,
            currency=settings.currency,
        )
        run = _run_batch(instance, settings, batch, stages, live_run)
        runs.append(run)
        if run.was_ended_elsewhere:
            _print_not_started(len(todo) - len(runs), "this command ends with its run")
            break
        if not run.success and _can_make_splits(instance, lake, settings, batch):
            splits = [Stage.FINE_TUNE_SPLITS]
            runs.append(_run_batch(instance, settings, batch, splits, live_run))
        if run.is_hopeless:
            _print_not_started(len(todo) - len(runs), "the same would stop it")
            break
    return runs


def _run_batch(
    instance: dg.DagsterInstance,
    settings: Settings,
    batch: str,
    stages: Sequence[str],
    live_run: LiveRun,
) -> BatchRun:
    """Make stages of a batch in one run, shown while it goes on, and say what came of it."""
    with on_screen(live_run) as note_event:
        run = run_job(
            instance,
            "make_batch",
            partition=batch,
            stages=stages,
            config=recipe_config(settings),
            is_held=True,
            on_event=note_event,
        )
    _print_run(run, settings)
    return run


def _print_run(run: BatchRun, settings: Settings) -> None:
    spent = describe_spending(run.spending, settings.currency)
    if not run.success:
        print_problem(f"✗ {run.batch}", f"{run.error}\nFinished stages: {spent}")
        return
    print_paragraph(f"✓ {run.batch}: {spent}")
    of_pairs: list[str] = []
    of_counterfactuals: list[str] = []
    for line in run.withheld.splitlines():
        is_of_pairs = not line.startswith(f"{Stage.POLICY_COUNTERFACTUALS} ")
        (of_pairs if is_of_pairs else of_counterfactuals).append(line)
    if of_pairs:
        print_problem(f"! {run.batch}, DPO rows kept out:", "\n".join(of_pairs))
    if of_counterfactuals:
        title = f"! {run.batch}, counterfactuals kept out:"
        print_problem(title, "\n".join(of_counterfactuals))


def _can_make_splits(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, batch: str
) -> bool:
    """Tell whether splits are due that wait for nothing but pairs, which they do not need.

    Dagster skips what is downstream of a step that failed, so a failed step `preference_pairs`
    takes the splits with it.
    """
    try:
        not_done = stages_not_done(instance, lake, settings, [batch])[batch]
    except SetupError:
        # A damaged partition, or no batch key. The run has told it, and others are to follow.
        return False
    required = {*all_upstream(Stage.FINE_TUNE_SPLITS)}
    return Stage.FINE_TUNE_SPLITS in not_done and not required & not_done


def _print_not_started(count: int, why: str) -> None:
    if count:
        print_paragraph(f"{quantity(count, 'more batch')} not started: {why}.")


def _print_waiting(reason: str) -> None:
    print_paragraph(f"{reason[0].upper()}{reason[1:]}.")
