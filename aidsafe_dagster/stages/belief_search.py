"""The search for misleading beliefs over many prompts at once: iteration by iteration, examples from all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.beliefs import BeliefSearch, PairKind, best_examples
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import BeliefExample, Failure, PreferencePair
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.dialogues import pair_case

Examples = Mapping[PairKind, Sequence[BeliefExample]]
Drive = Callable[[Sequence[DialogueTask[Any]], str], tuple[list[Any], Progress]]
"""Runs dialogues to their ends; the text says what they are."""


@dataclass(frozen=True)
class BeliefSearchOutcome:
    """What came of the searches, in their order, and what each drive took."""

    results: list[PreferencePair | Failure]
    spent: list[Progress]


def search_all(
    searches: Sequence[BeliefSearch],
    settings: Settings,
    drive: Drive,
    shown_before: Mapping[int, Examples],
) -> BeliefSearchOutcome:
    """Iteration by iteration; a prompt has its pair as soon as no further iteration is due.

    `shown_before`: per iteration the examples to show again instead of the best ones.
    """
    ended: dict[str, PreferencePair | Failure] = {}
    spent: list[Progress] = []
    for iteration in range(1, settings.pairs.iterations + 1):
        examples = shown_before.get(iteration) or _best(
            searches, iteration, settings.pairs.examples
        )
        going = [search for search in searches if search.refined.prompt_id not in ended]
        cases = [pair_case(search, iteration, examples[search.kind], settings) for search in going]
        results, progress = drive(cases, f"iteration {iteration}: ")
        spent.append(progress)
        came = zip(going, results, strict=True)
        ended |= {
            search.refined.prompt_id: result
            for search, result in came
            if not isinstance(result, BeliefSearch)
        }
    return BeliefSearchOutcome([ended[search.refined.prompt_id] for search in searches], spent)


def _best(searches: Sequence[BeliefSearch], iteration: int, most: int) -> Examples:
    """None in the first iteration, of which nothing is known yet."""
    return {
        kind: best_examples(searches, kind, iteration, most) if iteration > 1 else []
        for kind in get_args(PairKind)
    }
