"""Asset `preference_pairs`."""

from collections.abc import Mapping
from typing import get_args

import dagster as dg
from pydantic import ValidationError

from aidsafe_dagster.assets.cot_grades import cot_grades
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.recipe.beliefs import BeliefSearch, PairKind
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BeliefExample,
    CotGrades,
    PreferencePair,
    RefinedCot,
    Stage,
)
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.belief_search import Examples, search_all
from aidsafe_dagster.stages.dialogue_stage import Materialized, StageRun, begin, in_total
from aidsafe_dagster.stages.dialogues import search_of
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.metadata import margin_metadata
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.PREFERENCE_PAIRS, deps=[refined_cots, cot_grades])
def preference_pairs(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """The refined CoT as chosen; as rejected, what the target thinks under the ear-whisperer's most misleading belief.

    AIDSAFE's belief augmentation, by iterated in-context learning: the beliefs that misled most are the examples of the
    next iteration. Pairs whose margin is too small are counted and left out.
    """
    making, settings = begin(context, config, engine, lake, Stage.PREFERENCE_PAIRS), engine.load()
    searches = _searches(making, settings)
    found = search_all(searches, settings, making.drive, _examples_shown_before(making))
    conversations = [search.conversation for search in searches]
    return making.store(conversations, found.results, in_total(found.spent), margin_metadata)


def _searches(making: StageRun, settings: Settings) -> list[BeliefSearch]:
    """One per graded row, in the order of the rows."""
    refined = {row.prompt_id: row for row in making.read(Stage.REFINED_COTS, RefinedCot)}
    return [
        search_of(
            making.conversation(grades),
            {Stage.REFINED_COTS: refined[grades.prompt_id], Stage.COT_GRADES: grades},
            settings,
        )
        for grades in making.read(Stage.COT_GRADES, CotGrades)
    ]


def _examples_shown_before(making: StageRun) -> Mapping[int, Examples]:
    """What an earlier making of this batch showed the whisperer, by iteration.

    Materialized again, the batch shows the same: else rows that passed would be asked anew because a failed one succeeded.
    """
    shown: dict[int, dict[PairKind, list[BeliefExample]]] = {}
    versions = (
        making.dialogue_context.policies.version,
        making.dialogue_context.templates.version(Stage.PREFERENCE_PAIRS),
    )
    for pair in _made_before(making):
        if (pair.policies_version, pair.templates_version) != versions:
            return {}
        for example in pair.examples:
            of_iteration = shown.setdefault(
                example.iteration, {kind: [] for kind in get_args(PairKind)}
            )
            if example not in of_iteration[pair.kind]:
                of_iteration[pair.kind].append(example)
    return shown


def _made_before(making: StageRun) -> list[PreferencePair]:
    """None of a partition that is damaged or of an older release: it is made again from nothing but the journal."""
    if not making.lake.has(Stage.PREFERENCE_PAIRS, making.batch):
        return []
    try:
        return making.read(Stage.PREFERENCE_PAIRS, PreferencePair)
    except (SetupError, ValidationError):
        return []
