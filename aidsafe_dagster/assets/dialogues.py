"""The dialogue of each stage, from the records of a prompt so far.

The stage itself and whoever reads it ahead get it here, so that both ask the same.
"""

from collections.abc import Sequence
from typing import Any

from aidsafe_dagster.engines.driver import Trail
from aidsafe_dagster.recipe.beliefs import Search, kind_of_pair
from aidsafe_dagster.recipe.cot_grades import Versions, grade_versions
from aidsafe_dagster.recipe.dialogue import Case, Conversation, Dialogue
from aidsafe_dagster.recipe.preference_pairs import iterate, plain_calls
from aidsafe_dagster.recipe.records import BeliefExample, CotGrades, Stage
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import STYLES
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.recipe.single_llm_cots import think
from aidsafe_dagster.settings import Settings


def case_of(stage: Stage, conversation: Conversation, trail: Trail, settings: Settings) -> Case[Any]:
    """A stage's dialogue on one prompt; of the pairs, the first iteration, of which no row needs to know the others."""
    if stage is Stage.PREFERENCE_PAIRS:
        return pair_case(search_of(conversation, trail, settings), 1, [], settings)
    return Case(conversation, _dialogue(stage, conversation, trail, settings))


def pair_case(search: Search, iteration: int, examples: Sequence[BeliefExample], settings: Settings) -> Case[Any]:
    """One iteration on one prompt, and its pair where no further one is due."""
    dialogue = iterate(search, iteration, examples, settings.pairs, settings.grading)
    return Case(search.conversation, dialogue, plain_calls(search, settings.pairs, settings.grading))


def search_of(conversation: Conversation, trail: Trail, settings: Settings) -> Search:
    """The search for the beliefs that mislead on one prompt."""
    grades: CotGrades = trail[Stage.COT_GRADES]
    kind = kind_of_pair(grades, settings.pairs.over_refusal_share)
    return Search(conversation, trail[Stage.REFINED_COTS], grades, kind)


def _dialogue(stage: Stage, conversation: Conversation, trail: Trail, settings: Settings) -> Dialogue[Any]:
    match stage:
        case Stage.SINGLE_LLM_COTS:
            return think(conversation, trail[Stage.PROMPTS])
        case Stage.SEED_COTS:
            return seed(conversation, trail[Stage.PROMPTS])
        case Stage.DELIBERATED_COTS:
            deliberate = STYLES[settings.deliberation.style]
            return deliberate(conversation, trail[Stage.SEED_COTS], settings.deliberation)
        case Stage.REFINED_COTS:
            return refine(conversation, trail[Stage.DELIBERATED_COTS])
        case Stage.COT_GRADES:
            return grade_versions(conversation, _versions(trail), settings.grading)
    raise AssertionError(f"{stage} has no dialogues")


def _versions(trail: Trail) -> Versions:
    """What there is: without its baseline, a row is graded all the same."""
    return Versions(trail[Stage.REFINED_COTS], trail.get(Stage.DELIBERATED_COTS), trail.get(Stage.SINGLE_LLM_COTS))
