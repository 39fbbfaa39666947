from typing import Any

import pytest

from aidsafe_dagster.recipe.prompt_kinds import classify_prompt
from aidsafe_dagster.recipe.records import Intent
from tests.builders import a_refined_cot, a_single_llm_cot, policies


def an_intent(**changes: Any) -> Intent:
    values = {
        "text": "Know.",
        "kind": "explicit",
        "harm": "benign",
        "policies": ("helpfulness",),
    }
    return Intent(**(values | changes))


@pytest.mark.parametrize(
    ("intents", "kind"),
    [
        ((an_intent(),), "benign"),
        ((an_intent(policies=()),), "benign"),
        ((an_intent(policies=("helpfulness", "illegal")),), "borderline"),
        (
            (an_intent(), an_intent(kind="implicit", harm="malicious", policies=())),
            "borderline",
        ),
        ((an_intent(), an_intent(harm="malicious")), "harmful"),
        (
            (an_intent(kind="implicit", harm="malicious"), an_intent(harm="malicious")),
            "harmful",
        ),
    ],
)
def test_the_kind_follows_from_the_harm_and_the_policies_of_the_intents(
    intents: tuple[Intent, ...], kind: str
) -> None:
    assert classify_prompt(a_refined_cot(intents=intents), policies()) == kind


def test_a_row_without_intents_is_benign() -> None:
    assert classify_prompt(a_single_llm_cot(), policies()) == "benign"
