"""The dialogue of each stage, from the records of a prompt so far.

The stage itself and whoever reads it ahead get it here, so that both ask the same.
"""

from collections.abc import Sequence
from typing import Any

from aidsafe_dagster.engines.driver.rows import RecordsByStage
from aidsafe_dagster.recipe.beliefs import BeliefSearch, kind_of_pair
from aidsafe_dagster.recipe.cot_grades import Versions, grade_versions
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueTask
from aidsafe_dagster.recipe.preference_pairs import iterate, plain_calls
from aidsafe_dagster.recipe.records import BeliefExample, CotGrades, Stage
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import STYLES
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.recipe.single_llm_cots import think
from aidsafe_dagster.settings.schema import Settings


def case_of(
    stage: Stage, conversation: Conversation, trail: RecordsByStage, settings: Settings
) -> DialogueTask[Any]:
    """A stage's dialogue on one prompt; of the pairs, the first iteration, of which no row needs to know the others."""
    if stage is Stage.PREFERENCE_PAIRS:
        return pair_case(search_of(conversation, trail, settings), 1, [], settings)
    return DialogueTask(conversation, _dialogue(stage, conversation, trail, settings))


def pair_case(
    search: BeliefSearch, iteration: int, examples: Sequence[BeliefExample], settings: Settings
) -> DialogueTask[Any]:
    """One iteration on one prompt, and its pair where no further one is due."""
    dialogue = iterate(search, iteration, examples, settings.pairs, settings.grading)
    return DialogueTask(
        search.conversation, dialogue, plain_calls(search, settings.pairs, settings.grading)
    )


def search_of(
    conversation: Conversation, trail: RecordsByStage, settings: Settings
) -> BeliefSearch:
    """The search for the beliefs that mislead on one prompt."""
    grades: CotGrades = trail[Stage.COT_GRADES]
    kind = kind_of_pair(grades, settings.pairs.over_refusal_share)
    return BeliefSearch(conversation, trail[Stage.REFINED_COTS], grades, kind)


def _dialogue(
    stage: Stage, conversation: Conversation, trail: RecordsByStage, settings: Settings
) -> Dialogue[Any]:
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


def _versions(trail: RecordsByStage) -> Versions:
    """What there is: without its baseline, a row is graded all the same."""
    return Versions(
        trail[Stage.REFINED_COTS],
        trail.get(Stage.DELIBERATED_COTS),
        trail.get(Stage.SINGLE_LLM_COTS),
    )
