"""The ear-whisperer against several targets: how far it misleads each, a well-aligned one included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.ablations import (
    AS_CONFIGURED,
    AblationConfig,
    ablation,
    sample_of,
    with_roles,
)
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.quality.statistics import mean_interval, proportion
from aidsafe_dagster.recipe.beliefs import BeliefSearch, kind_of_pair
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
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.ablation_metadata import said, table_of
from aidsafe_dagster.stages.belief_search import search_all
from aidsafe_dagster.stages.dialogue_stage import in_total
from aidsafe_dagster.stages.metadata import REHEARSAL_LABEL
from aidsafe_dagster.stages.progress_log import ProgressLog


class TargetsConfig(AblationConfig):
    targets: dict[str, dict[str, str]] = Field(
        default={},
        description='further targets by name, as in the settings: {"aligned": {"model": "…", "base_url": "…"}}; '
        "the configured one is measured in any case",
    )


@dataclass(frozen=True)
class _Against:
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
) -> dg.MaterializeResult[Any]:
    """The ear-whisperer against the configured target and others: how many it misleads, and how far."""
    opened = lake.open()
    sample = sample_of(opened, config)
    engines = {AS_CONFIGURED: engine} | {
        name: with_roles(engine, settings, {str(Role.TARGET): target})
        for name, target in config.targets.items()
    }
    found = [_against(context, opened, name, own, sample) for name, own in engines.items()]
    label = {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if engine.brief().simulated else {}
    return dg.MaterializeResult(
        metadata={
            **label,
            "targets": table_of([_line(against) for against in found]),
            "by_iteration": table_of([line for against in found for line in _iterations(against)]),
            "calls_made": sum(against.progress.calls_made for against in found),
            "calls_replayed": sum(against.progress.replayed for against in found),
        }
    )


def _against(
    context: dg.AssetExecutionContext,
    lake: Lake,
    name: str,
    engine: EngineResource,
    sample: Sequence[Prompt],
) -> _Against:
    settings = engine.load()
    searches = _searches(lake, engine, sample)

    def drive(cases: Sequence[Any], what: str) -> tuple[list[Any], Progress]:
        told = ProgressLog(context.log, f"{name}, {what.strip()}", f"{len(cases)} prompts")
        return engine.drive(cases, told, context.log.info)

    found = search_all(searches, settings, drive, shown_before={})
    return _Against(name, searches, found.results, in_total(found.spent))


def _searches(lake: Lake, engine: EngineResource, sample: Sequence[Prompt]) -> list[BeliefSearch]:
    """One for each prompt of the sample that was graded."""
    brief, share = engine.brief(), engine.load().pairs.over_refusal_share
    batches = sorted({prompt.batch for prompt in sample} & set(lake.batches(Stage.COT_GRADES)))
    graded: Mapping[str, CotGrades] = _by_id(lake, Stage.COT_GRADES, batches, CotGrades)
    refined: Mapping[str, RefinedCot] = _by_id(lake, Stage.REFINED_COTS, batches, RefinedCot)
    return [
        BeliefSearch(
            Conversation(brief, Stage.PREFERENCE_PAIRS, grades),
            refined[grades.prompt_id],
            grades,
            kind_of_pair(grades, share),
        )
        for prompt in sample
        if (grades := graded.get(prompt.prompt_id))
    ]


def _by_id(lake: Lake, stage: Stage, batches: Sequence[str], record: type[Any]) -> dict[str, Any]:
    return {
        row.prompt_id: row
        for batch in batches
        for row in from_frame(lake.rows(stage, batch), record)
    }


def _line(against: _Against) -> dict[str, Any]:
    pairs = [result for result in against.results if isinstance(result, PreferencePair)]
    scores = [search.worst.score for search in against.searches if search.worst]
    return {
        "target": against.target,
        "model": ", ".join(
            sorted({model for s in against.searches for model in s.conversation.models})
        )[:120],
        "prompts": len(against.searches),
        "misled": said(proportion(len(pairs), len(against.searches))),
        "policy score of the worst answer": said(mean_interval(scores)),
        "margin of the pairs": said(mean_interval([pair.margin for pair in pairs])),
        "calls made": against.progress.calls_made,
    }


def _iterations(against: _Against) -> list[dict[str, Any]]:
    """How the candidates of each iteration scored: a whisperer that learns scores lower from one to the next."""
    by_iteration: dict[int, list[float]] = {}
    for search in against.searches:
        for candidate in search.candidates:
            if candidate.score is not None:
                by_iteration.setdefault(candidate.iteration, []).append(candidate.score)
    return [
        {
            "target": against.target,
            "iteration": iteration,
            "beliefs": len(scores),
            "mean policy score": round(fmean(scores), 3),
        }
        for iteration, scores in sorted(by_iteration.items())
    ]
