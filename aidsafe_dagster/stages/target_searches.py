"""The searches for beliefs of an experiment on targets: which prompts, and what they start from."""

from collections.abc import Mapping, Sequence

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.beliefs import BeliefSearch
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext
from aidsafe_dagster.recipe.records import CotGrades, Prompt, RefinedCot, Stage
from aidsafe_dagster.recipe.stages import RecordsByStage, belief_search
from aidsafe_dagster.settings.schema import Settings


def read_chosen_sides(
    lake: Lake, sample: Sequence[Prompt]
) -> dict[str, RecordsByStage]:
    """Return, by prompt id, the refined CoT with its grades, as far as there are any."""
    sides: dict[str, RecordsByStage] = {}
    sampled = {prompt.prompt_id for prompt in sample}
    for batch in sorted({prompt.batch for prompt in sample}):
        if not lake.has(Stage.COT_GRADES, batch):
            continue
        refined = {}
        for refined_row in lake.records(Stage.REFINED_COTS, batch, RefinedCot):
            refined[refined_row.prompt_id] = refined_row
        for row in lake.records(Stage.COT_GRADES, batch, CotGrades):
            if row.prompt_id in sampled:
                sides[row.prompt_id] = {
                    Stage.REFINED_COTS: refined[row.prompt_id],
                    Stage.COT_GRADES: row,
                }
    return sides


def make_searches(
    sample: Sequence[Prompt],
    sides: Mapping[str, RecordsByStage],
    context: DialogueContext,
    settings: Settings,
) -> list[BeliefSearch]:
    """Return a search for each prompt of the sample that has a chosen side."""
    searches = []
    for prompt in sample:
        records = sides.get(prompt.prompt_id)
        if records is not None:
            row = records[Stage.COT_GRADES]
            conversation = Conversation(context, Stage.PREFERENCE_PAIRS, row)
            searches.append(belief_search(conversation, records, settings))
    return searches
