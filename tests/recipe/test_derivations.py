"""What hangs on how a prompt was made: its pair, its place among the rows, and its lineage."""

from typing import Literal

import pytest

from aidsafe_dagster.recipe.beliefs import choose_pair_kind
from aidsafe_dagster.recipe.fine_tune_splits import why_no_twin
from aidsafe_dagster.recipe.format_types import lineage
from aidsafe_dagster.recipe.records import CotGrades, Derivation, PromptKind, Stage
from tests.builders import a_cot_grades, a_grade, a_prompt, an_sft_row
from tests.recipe.scripted_model import a_conversation

TWIN = Derivation(method="benign_twin", parent="p0", detail="Open one's own door.")
Refusal = Literal["none", "partial", "full"]


def grades_of_a_twin(
    refusal: Refusal = "none", prompt_kind: PromptKind = "benign"
) -> CotGrades:
    return a_cot_grades(
        derivation=TWIN, prompt_kind=prompt_kind, grades=(a_grade(refusal=refusal),)
    )


def test_the_pair_of_a_twin_is_on_needless_refusal_unless_none_is_wanted() -> None:
    grades = [
        a_cot_grades(prompt_id=f"p{n}", prompt_kind="benign", derivation=TWIN)
        for n in range(50)
    ]
    assert {choose_pair_kind(row, 0.01) for row in grades} == {"needless_refusal"}
    assert {choose_pair_kind(row, 0.0) for row in grades} == {"violation"}


@pytest.mark.parametrize("refusal", ["partial", "full"])
def test_a_twin_that_is_refused_is_none(refusal: Refusal) -> None:
    grades = grades_of_a_twin(refusal)
    assert why_no_twin(grades, grades) == (
        f"a judge finds that the response declines: {refusal}"
    )


def test_a_twin_that_is_harmful_by_its_intents_is_none() -> None:
    grades = grades_of_a_twin(prompt_kind="harmful")
    assert why_no_twin(grades, grades) == "by its intents it is harmful itself"


def test_a_twin_that_is_answered_is_one_and_so_is_what_was_never_to_be_one() -> None:
    assert why_no_twin(grades_of_a_twin(), grades_of_a_twin()) is None
    assert why_no_twin(grades_of_a_twin(), None) is None
    found = a_cot_grades(prompt_kind="harmful", grades=(a_grade(refusal="full"),))
    assert why_no_twin(found, found) is None


def test_an_export_says_how_a_prompt_was_made_and_from_which() -> None:
    made = lineage(an_sft_row(derivation=TWIN))
    assert made["derivation"] == "benign_twin: Open one's own door."
    assert made["derived_from"] == "p0"
    found = lineage(an_sft_row())
    assert (found["derivation"], found["derived_from"]) == ("", "")


def test_a_row_of_a_made_up_prompt_is_simulated_whoever_answers() -> None:
    made_up = TWIN.model_copy(update={"simulated": True})
    for derivation, simulated in ((made_up, True), (TWIN, False), (None, False)):
        prompt = a_prompt(derivation=derivation)
        conversation = a_conversation(Stage.SEED_COTS, prompt)
        assert conversation.provenance()["simulated"] is simulated
