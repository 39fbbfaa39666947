"""Which places are thin, and how what is bounded is spread over them."""

import pytest

from aidsafe_dagster.prompt_work.coverage import Cell, Coverage, CoveredPrompt
from aidsafe_dagster.prompt_work.gaps import (
    Scope,
    category_for,
    find_gaps,
    planned,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import PromptKind
from tests.builders import policies

RULES = policies().rule_ids


def touching(*cells: tuple[str, PromptKind], category: str = "") -> Coverage:
    prompts = []
    for number, (rule, kind) in enumerate(cells):
        prompts.append(
            CoveredPrompt(str(number), category, frozenset({rule}), kind, is_made=True)
        )
    return Coverage(policies(), tuple(prompts), simulated=False)


def test_each_rule_is_to_have_the_target_of_each_kind() -> None:
    coverage = touching((RULES[0], "harmful"), (RULES[0], "harmful"))
    missing = {
        gap.cell: gap.missing for gap in find_gaps(coverage, Scope(), 2, most=1000)
    }
    assert Cell("rule", RULES[0], "harmful") not in missing
    assert missing[Cell("rule", RULES[0], "benign")] == 2
    assert len(missing) == 3 * len(RULES) - 1


def test_what_is_bounded_goes_to_the_thinnest_places_first() -> None:
    present: list[tuple[str, PromptKind]] = [(rule, "benign") for rule in RULES[1:]]
    gaps = find_gaps(
        touching(*present), Scope(kinds=("benign",)), target=5, most=len(RULES) + 1
    )
    missing = {gap.cell.name: gap.missing for gap in gaps}
    assert missing[RULES[0]] == 2
    assert all(missing[rule] == 1 for rule in RULES[1:])
    assert planned(gaps) == len(RULES) + 1


def test_a_policy_stands_for_all_of_its_rules() -> None:
    scope = Scope(rules=("illegal",), kinds=("harmful",))
    names = [gap.cell.name for gap in find_gaps(touching(), scope, 1, 100)]
    assert names == [rule for rule in RULES if rule.startswith("illegal.")]


def test_a_rule_that_is_none_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(SetupError, match=r"illegal\.1"):
        find_gaps(touching(), Scope(rules=("ilegal.1",)), 1, 100)


def test_a_category_is_filled_in_the_kinds_that_it_has() -> None:
    coverage = touching((RULES[0], "benign"), category="locks")
    cells = {gap.cell for gap in find_gaps(coverage, Scope(), 2, 1000)}
    assert Cell("category", "locks", "benign") in cells
    assert Cell("category", "locks", "harmful") not in cells


def test_a_category_that_is_named_is_filled_in_all_kinds() -> None:
    gaps = find_gaps(touching(), Scope(categories=("boats",)), 1, 100)
    assert {gap.cell.kind for gap in gaps} == {"harmful", "borderline", "benign"}
    assert {gap.cell.name for gap in gaps} == {"boats"}


def test_a_benign_prompt_is_of_no_category_of_its_policy() -> None:
    harmful = category_for(Cell("rule", "illegal.1", "harmful"), policies())
    benign = category_for(Cell("rule", "illegal.1", "benign"), policies())
    illegal = next(one for one in policies().policies if one.id == "illegal")
    assert harmful == illegal.title
    assert not any(policy.concerns(benign) for policy in policies().policies)
