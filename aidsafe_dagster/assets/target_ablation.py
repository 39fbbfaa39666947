"""Asset `ablation_targets`: the ear-whisperer against several targets, a well-aligned one
included.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import dagster as dg

from aidsafe_dagster.ablations.experiment import TargetRow
from aidsafe_dagster.assets.ablations import ablation
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.beliefs import BeliefSearch
from aidsafe_dagster.recipe.records import (
    Failure,
    FailureReason,
    PreferencePair,
    Prompt,
    Stage,
    Usage,
)
from aidsafe_dagster.recipe.stages import RecordsByStage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.ablation import (
    AblationRun,
    VariantResult,
    parts_of_stages,
    start_ablation,
)
from aidsafe_dagster.stages.ablation_plans import (
    Roles,
    TargetsConfig,
    nothing_to_search,
    target_roles,
)
from aidsafe_dagster.stages.belief_search import search_all
from aidsafe_dagster.stages.dialogue_stage import total_progress
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.target_searches import make_searches, read_chosen_sides


@ablation
def ablation_targets(
    context: dg.AssetExecutionContext,
    config: TargetsConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """How many targets the ear-whisperer misleads, and how far: the configured one and others.

    Raises:
        SetupError: no prompt of the sample has been graded yet.
    """
    run = start_ablation(context, config, engine, lake, settings)
    chosen_sides = read_chosen_sides(run.lake, run.sample)
    if not chosen_sides:
        raise nothing_to_search()
    results = []
    for name, roles in target_roles(run.snapshot.settings, config.targets).items():
        results.append(_search(run, name, roles, chosen_sides))
    simulated = engine.dialogue_context().simulated
    return run.finish(results, simulated=simulated)


def _search(
    run: AblationRun,
    target: str,
    roles: Roles,
    chosen_sides: dict[str, RecordsByStage],
) -> VariantResult:
    engine = run.engine_for(roles)
    log = run.context.log
    engine.check_context([Stage.PREFERENCE_PAIRS], log.warning)
    settings = engine.snapshot.settings
    dialogue_context = engine.dialogue_context()
    searches = make_searches(run.sample, chosen_sides, dialogue_context, settings)

    def drive(tasks: Sequence[Any], iteration: str) -> tuple[list[Any], Progress]:
        step = f"{target}, {iteration}"
        subject = f"{len(tasks)} prompts"
        progress_log = ProgressLog(log, step, subject, settings.currency)
        results, progress = engine.drive(tasks, progress_log, log.info)
        progress_log.log_end(progress)
        return results, progress

    # Each target is shown the examples that misled it most, so there are none to show again.
    outcome = search_all(searches, settings, drive, earlier_examples={})
    rows = []
    for search, result in zip(searches, outcome.results, strict=True):
        rows.append(_row(target, search, result, settings.pairs.iterations))
    return VariantResult(
        name=target,
        rows=rows,
        failures=_not_searched(run, chosen_sides),
        progress=total_progress(outcome.progress),
        parts=parts_of_stages(engine.snapshot, [Stage.PREFERENCE_PAIRS]),
    )


def _not_searched(
    run: AblationRun, chosen_sides: dict[str, RecordsByStage]
) -> list[Failure]:
    """Return a failure for each prompt of the sample that has no chosen side."""
    failures = []
    for prompt in run.sample:
        if prompt.prompt_id not in chosen_sides:
            failures.append(_no_chosen_side(prompt))
    return failures


def _no_chosen_side(prompt: Prompt) -> Failure:
    return Failure(
        prompt_id=prompt.prompt_id,
        batch=prompt.batch,
        stage=Stage.COT_GRADES,
        reason=FailureReason.NOT_GRADED,
        detail="no graded refined CoT to hold the answers of a target against",
        role="",
        turn=0,
        redraws=(),
        usage=Usage(),
    )


def _row(
    target: str,
    search: BeliefSearch,
    result: PreferencePair | Failure,
    iterations: int,
) -> TargetRow:
    pair = result if isinstance(result, PreferencePair) else None
    conversation = search.conversation
    return TargetRow(
        variant=target,
        prompt_id=search.refined.prompt_id,
        batch=search.refined.batch,
        model=_target_model(search),
        kind=search.kind,
        is_misled=pair is not None,
        policy_score=search.least_score,
        margin=pair.margin if pair else None,
        beliefs=len(search.candidates),
        iteration_scores=_iteration_scores(search, iterations),
        calls=conversation.usage.calls,
        cost=conversation.usage.cost,
    )


def _target_model(search: BeliefSearch) -> str:
    for candidate in search.candidates:
        if candidate.target_model:
            return candidate.target_model
    return ""


def _iteration_scores(
    search: BeliefSearch, iterations: int
) -> tuple[float | None, ...]:
    means: list[float | None] = []
    for iteration in range(1, iterations + 1):
        scores = []
        for candidate in search.candidates:
            if candidate.iteration == iteration and candidate.score is not None:
                scores.append(candidate.score)
        means.append(fmean(scores) if scores else None)
    return tuple(means)
