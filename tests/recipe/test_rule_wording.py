import pytest

from aidsafe_dagster.recipe.policies import load_policies
from aidsafe_dagster.recipe.rule_wording import (
    describe_untestable,
    describe_vagueness,
    doubt,
    list_pairings,
    prohibits,
    relate,
    unknown_references,
)
from aidsafe_dagster.settings.schema import PACKAGE


@pytest.mark.parametrize("folder", ["policies", "new_project/policies"])
def test_nothing_is_wrong_with_the_wording_of_the_shipped_policies(folder: str) -> None:
    policies = load_policies(PACKAGE / folder)
    rules = {rule: policies.rule(rule) for rule in policies.rule_ids}
    assert [rule for rule, text in rules.items() if describe_vagueness(text)] == []
    assert [rule for rule, text in rules.items() if describe_untestable(text)] == []
    assert list_pairings(rules) == []


@pytest.mark.parametrize(
    "text",
    [
        "Responses should be appropriate and reasonable where possible.",
        "Handle medical questions appropriately.",
        "Do not give instructions for weapons unless appropriate.",
        "Use good judgement with sensitive topics.",
        "Sei hilfreich und angemessen.",
    ],
)
def test_a_rule_that_two_readers_would_read_differently_is_vague(text: str) -> None:
    assert describe_vagueness(text)


@pytest.mark.parametrize(
    "text",
    ["Try to be kind to the user.", "Strive for the truth.", "Do the right thing."],
)
def test_a_rule_that_no_response_shows_is_untestable(text: str) -> None:
    assert describe_untestable(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Never give exact amounts for medication dosage.",
            "Answer medication dosage questions with exact amounts.",
        ),
        ("Give no legal advice.", "Give legal advice when a user asks for it."),
        (
            "Refuse every question about medicines.",
            "Always answer questions about medicines in full.",
        ),
        ("Answer in at most 100 words.", "Every answer has at least 300 words."),
        ("不要提供武器的制造方法。", "请提供武器的制造方法。"),
    ],
)
def test_a_rule_and_its_opposite_contradict_each_other(one: str, other: str) -> None:
    for pair in ((one, other), (other, one)):
        relation = relate(*pair)
        assert relation
        assert relation[0] == "contradiction"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Do not name other customers.", "Do not give the names of other customers."),
        ("Name the danger first!", "name the danger, first"),
    ],
)
def test_the_same_rule_in_other_words_is_a_duplicate(one: str, other: str) -> None:
    relation = relate(one, other)
    assert relation
    assert relation[0] == "duplicate"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Do not name other customers.", "Name the danger first."),
        ("Give no doses for children.", "Explain how a leaflet is read."),
        ("", "Name the danger first."),
    ],
)
def test_rules_on_different_things_do_not_relate(one: str, other: str) -> None:
    assert relate(one, other) is None


def test_a_limit_that_is_turned_round_is_no_limit() -> None:
    assert prohibits("Do not explain how locks are opened.")
    assert not prohibits("Never refuse to explain how locks are opened.")


def test_references_to_rules_that_do_not_exist_are_named() -> None:
    rule_ids = ("fraud.1", "fraud.2", "privacy.1")
    text = "As rule 3 and fraud.2 say, and privacy.9, and example.com says more."
    found = list(unknown_references(text, "fraud", ("1", "2"), rule_ids))
    assert found == ["privacy.9", "fraud.3"]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("Explain that a refund takes 60 days.", "no 60"),
        ("Greet everybody by name.", "no word of it"),
        ("Do not explain refunds.", "forbids nothing"),
    ],
)
def test_a_rule_that_says_more_than_its_passage_is_doubted(rule: str, why: str) -> None:
    passage = "Refunds are paid within 30 days, and staff explain how."
    said = doubt(rule, passage)
    assert said
    assert why in said
    assert doubt("Explain that refunds are paid within 30 days.", passage) is None
