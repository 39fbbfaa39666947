"""Asset `preference_pairs`."""

from collections.abc import Mapping
from typing import get_args

import dagster as dg

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.pair_floors import PairKind
from aidsafe_dagster.recipe.records import BeliefExample, PreferencePair, Stage
from aidsafe_dagster.recipe.stages import belief_search
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.belief_search import (
    Examples,
    search_all,
    store_tried_beliefs,
)
from aidsafe_dagster.stages.dialogue_stage import StageRun, start_stage, total_progress
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.metadata import pair_metadata
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.PREFERENCE_PAIRS)
def preference_pairs(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Chosen: the refined CoT. Rejected: the target's answer under the most misleading belief.

    AIDSAFE's belief augmentation by iterated in-context learning: the beliefs that misled most are
    the examples of the next iteration. Rows whose sides are unfit for a pair are counted and left
    out. Every candidate is in the table `belief_candidates`.
    """
    run = start_stage(context, config, engine, lake, Stage.PREFERENCE_PAIRS)
    settings = run.snapshot.settings
    searches = []
    for row, records in run.inputs():
        conversation = run.conversation(row)
        searches.append(belief_search(conversation, records, settings))
    earlier_examples = _earlier_examples(run)
    outcome = search_all(searches, settings, run.drive, earlier_examples)
    conversations = [search.conversation for search in searches]
    progress = total_progress(outcome.progress)
    # Before the pairs, so that no pair stands without the account of its search.
    store_tried_beliefs(run.lake, run.batch, searches, settings.pairs)
    return run.finish(conversations, outcome.results, progress, pair_metadata)


def _earlier_examples(run: StageRun) -> Mapping[int, Examples]:
    """Return the examples that an earlier making of this batch showed the whisperer, by iteration.

    The batch shows the same ones when it is made again. Otherwise rows that passed would be asked
    anew because a failed row has succeeded and changed the examples.
    """
    examples: dict[int, dict[PairKind, list[BeliefExample]]] = {}
    context = run.dialogue_context
    versions = (
        context.policies.version,
        context.templates.version(Stage.PREFERENCE_PAIRS),
    )
    for pair in _stored_pairs(run):
        # Other policies or templates make every request another one, so nothing can be replayed.
        if (pair.policies_version, pair.templates_version) != versions:
            return {}
        for example in pair.examples:
            # The search looks up every kind, so a kind without examples has an empty list.
            no_examples: dict[PairKind, list[BeliefExample]] = {
                kind: [] for kind in get_args(PairKind)
            }
            by_kind = examples.setdefault(example.iteration, no_examples)
            if example not in by_kind[pair.kind]:
                by_kind[pair.kind].append(example)
    return examples


def _stored_pairs(run: StageRun) -> list[PreferencePair]:
    """Return the pairs of the partition; none if it is damaged or an older release wrote it."""
    if not run.lake.has(Stage.PREFERENCE_PAIRS, run.batch):
        return []
    try:
        return run.lake.records(Stage.PREFERENCE_PAIRS, run.batch, PreferencePair)
    except SetupError:
        return []
