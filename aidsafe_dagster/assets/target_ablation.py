"""Asset `ablation_targets`: the ear-whisperer against several targets, a well-aligned one
included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.ablations import ablation
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import mean_interval, proportion
from aidsafe_dagster.recipe.beliefs import BeliefSearch
from aidsafe_dagster.recipe.dialogue import Conversation
from aidsafe_dagster.recipe.records import (
    CotGrades,
    Failure,
    PreferencePair,
    Prompt,
    RefinedCot,
    Role,
    Stage,
)
from aidsafe_dagster.recipe.stages import RecordsByStage, belief_search
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.ablation import (
    AS_CONFIGURED,
    AblationConfig,
    format_estimate,
    sample_prompts,
)
from aidsafe_dagster.stages.belief_search import search_all
from aidsafe_dagster.stages.dialogue_stage import total_progress
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import record_table
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.roles import engine_with_roles

_MAX_MODEL_CHARS = 120
"""Several models may have answered, and a cell of the table has no room for all names."""


class TargetsConfig(AblationConfig):
    targets: dict[str, dict[str, str]] = Field(
        default={},
        description="further targets by name, as in the settings: "
        '{"aligned": {"model": "…", "base_url": "…"}}; the configured one is always measured',
    )


@dataclass(frozen=True)
class _TargetResult:
    """The search against one target."""

    target: str
    searches: Sequence[BeliefSearch]
    results: Sequence[PreferencePair | Failure]
    progress: Progress


@ablation
def ablation_targets(
    context: dg.AssetExecutionContext,
    config: TargetsConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """How many targets the ear-whisperer misleads, and how far: the configured one and others."""
    opened = lake.open()
    sample = sample_prompts(opened, config)
    engines = {AS_CONFIGURED: engine}
    for name, target in config.targets.items():
        # Only the target changes. The same whisperer and judges keep the searches comparable.
        roles = {str(Role.TARGET): target}
        engines[name] = engine_with_roles(engine, settings, roles)
    results = []
    for name, target_engine in engines.items():
        results.append(_search(context, opened, name, target_engine, sample))
    summaries: list[Mapping[str, Any]] = []
    iterations: list[Mapping[str, Any]] = []
    calls_made = 0
    calls_replayed = 0
    for result in results:
        summaries.append(_summary(result))
        iterations.extend(_iterations(result))
        calls_made += result.progress.calls_made
        calls_replayed += result.progress.replayed
    metadata = {
        "targets": record_table(summaries),
        "by_iteration": record_table(iterations),
        "calls_made": calls_made,
        "calls_replayed": calls_replayed,
    }
    simulated = engine.dialogue_context().simulated
    return materialized(engine.snapshot, metadata, simulated=simulated)


def _search(
    context: dg.AssetExecutionContext,
    lake: Lake,
    target: str,
    engine: EngineResource,
    sample: Sequence[Prompt],
) -> _TargetResult:
    engine.check_context([Stage.PREFERENCE_PAIRS], context.log.warning)
    searches = _open_searches(lake, engine, sample)

    settings = engine.snapshot.settings

    def drive(tasks: Sequence[Any], iteration: str) -> tuple[list[Any], Progress]:
        step = f"{target}, {iteration}"
        subject = f"{len(tasks)} prompts"
        progress_log = ProgressLog(context.log, step, subject, settings.currency)
        return engine.drive(tasks, progress_log, context.log.info)

    # Each target is shown the examples that misled it most, so there are none to show again.
    outcome = search_all(searches, settings, drive, earlier_examples={})
    progress = total_progress(outcome.progress)
    return _TargetResult(target, searches, outcome.results, progress)


def _open_searches(
    lake: Lake, engine: EngineResource, sample: Sequence[Prompt]
) -> list[BeliefSearch]:
    """Start one search for each prompt of the sample that was graded."""
    dialogue_context = engine.dialogue_context()
    settings = engine.snapshot.settings
    sampled_batches = {prompt.batch for prompt in sample}
    grades: dict[str, CotGrades] = {}
    refined: dict[str, RefinedCot] = {}
    graded_batches = sampled_batches.intersection(lake.batches(Stage.COT_GRADES))
    for batch in sorted(graded_batches):
        for graded_row in lake.records(Stage.COT_GRADES, batch, CotGrades):
            grades[graded_row.prompt_id] = graded_row
        for refined_row in lake.records(Stage.REFINED_COTS, batch, RefinedCot):
            refined[refined_row.prompt_id] = refined_row
    searches = []
    for prompt in sample:
        row = grades.get(prompt.prompt_id)
        # The chosen side of a pair needs its score, as in the pipeline.
        if row is None:
            continue
        records: RecordsByStage = {
            Stage.REFINED_COTS: refined[row.prompt_id],
            Stage.COT_GRADES: row,
        }
        conversation = Conversation(dialogue_context, Stage.PREFERENCE_PAIRS, row)
        searches.append(belief_search(conversation, records, settings))
    return searches


def _summary(result: _TargetResult) -> Mapping[str, Any]:
    pairs = [pair for pair in result.results if isinstance(pair, PreferencePair)]
    least_scores = [search.least_score for search in result.searches]
    worst_scores = [score for score in least_scores if score is not None]
    margins = [pair.margin for pair in pairs]
    models: set[str] = set()
    for search in result.searches:
        models.update(search.conversation.models)
    return {
        "target": result.target,
        "model": ", ".join(sorted(models))[:_MAX_MODEL_CHARS],
        "prompts": len(result.searches),
        "misled": format_estimate(proportion(len(pairs), len(result.searches))),
        "policy score of the worst answer": format_estimate(
            mean_interval(worst_scores)
        ),
        "margin of the pairs": format_estimate(mean_interval(margins)),
        "calls made": result.progress.calls_made,
    }


def _iterations(result: _TargetResult) -> list[Mapping[str, Any]]:
    """Score the candidates by iteration: a whisperer that learns scores lower each time."""
    scores: dict[int, list[float]] = {}
    for search in result.searches:
        for candidate in search.candidates:
            if candidate.score is not None:
                scores.setdefault(candidate.iteration, []).append(candidate.score)
    lines: list[Mapping[str, Any]] = []
    for iteration in sorted(scores):
        line = {
            "target": result.target,
            "iteration": iteration,
            "beliefs": len(scores[iteration]),
            "mean policy score": round(fmean(scores[iteration]), 3),
        }
        lines.append(line)
    return lines
