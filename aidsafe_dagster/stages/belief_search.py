"""The search for misleading beliefs over all prompts of a batch, one iteration after another.

The examples of an iteration come from all prompts, so this is the one place where rows wait for
each other. A prompt has its pair as soon as no further iteration is due for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.beliefs import (
    BeliefSearch,
    BeliefSettings,
    select_examples,
    tried_beliefs,
)
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.pair_floors import PairKind
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    BeliefExample,
    Failure,
    PreferencePair,
    TriedBelief,
)
from aidsafe_dagster.recipe.stages import belief_iteration
from aidsafe_dagster.settings.schema import Settings

Examples = Mapping[PairKind, Sequence[BeliefExample]]
Drive = Callable[[Sequence[DialogueTask[Any]], str], tuple[list[Any], Progress]]
"""Runs dialogues to their ends; the text names the iteration."""


@dataclass(frozen=True)
class BeliefSearchOutcome:
    """The results of the searches, in their order, and the progress of each iteration."""

    results: list[PreferencePair | Failure]
    progress: list[Progress]


def search_all(
    searches: Sequence[BeliefSearch],
    settings: Settings,
    drive: Drive,
    earlier_examples: Mapping[int, Examples],
) -> BeliefSearchOutcome:
    """Run all iterations of all searches.

    Args:
        searches: one per prompt.
        settings: `pairs` and `grading` bear on the search.
        drive: runs the dialogues of one iteration.
        earlier_examples: per iteration, the examples to show again instead of the best ones.
    """
    results: dict[str, PreferencePair | Failure] = {}
    progress = []
    for iteration in range(1, settings.pairs.iterations + 1):
        # Examples shown before are shown again: other ones would change the requests, and rows that
        # passed would be asked again.
        examples = earlier_examples.get(iteration)
        if not examples:
            examples = _best_examples(searches, iteration, settings.pairs.examples)
        open_searches = []
        for search in searches:
            if search.refined.prompt_id not in results:
                open_searches.append(search)
        tasks = []
        for search in open_searches:
            own_examples = examples[search.kind]
            tasks.append(belief_iteration(search, iteration, own_examples, settings))
        iteration_results, iteration_progress = drive(tasks, f"iteration {iteration}")
        progress.append(iteration_progress)
        for search, result in zip(open_searches, iteration_results, strict=True):
            # A search that needs another iteration comes back as itself.
            if not isinstance(result, BeliefSearch):
                results[search.refined.prompt_id] = result
    # Searches end in any order, and rows are stored in the order of their prompts.
    ordered = [results[search.refined.prompt_id] for search in searches]
    return BeliefSearchOutcome(ordered, progress)


def store_tried_beliefs(
    lake: Lake,
    batch: str,
    searches: Sequence[BeliefSearch],
    settings: BeliefSettings,
) -> None:
    """Write the candidates of all searches of a batch, of those that failed as well."""
    rows: list[TriedBelief] = []
    for search in searches:
        rows += tried_beliefs(search, settings)
    lake.store(BELIEF_CANDIDATES, batch, rows, TriedBelief)


def _best_examples(
    searches: Sequence[BeliefSearch], iteration: int, limit: int
) -> Examples:
    """Return the beliefs that misled most, by kind; none before the first iteration."""
    examples: dict[PairKind, Sequence[BeliefExample]] = {}
    for kind in get_args(PairKind):
        if iteration > 1:
            examples[kind] = select_examples(searches, kind, iteration, limit)
        else:
            examples[kind] = []
    return examples
