"""Two lakes on the same prompts: what is counted, over which prompts, and how surely."""

import shutil
from pathlib import Path

import pytest

from aidsafe_dagster.comparisons.comparison import Comparison, compare
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.template_texts import store_templates
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.settings.schema import PACKAGE
from tests.builders import policies
from tests.comparisons.lakes import (
    a_row,
    a_side,
    compared,
    fill,
    other_policies,
)


def lakes(tmp_path: Path) -> tuple[Lake, Lake]:
    return Lake(tmp_path / "a"), Lake(tmp_path / "b")


def counts(comparison: Comparison) -> dict[str, tuple[int, int, int, int]]:
    return {
        one.name: (one.a, one.b, one.lost, one.gained) for one in comparison.outcomes
    }


def test_a_side_compared_with_itself_has_not_changed(tmp_path: Path) -> None:
    a, _ = lakes(tmp_path)
    fill(a, [a_row("p1"), a_row("p2", failed="unparsable")])
    comparison = compared(a, a)
    assert comparison.changed == ()
    assert [one.changes for one in comparison.recipes] == [()]
    assert all(figure.gained == figure.lost == 0 for figure in comparison.outcomes)


def test_failed_prompts_stay_in_the_denominators(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1"), a_row("p2"), a_row("p3", failed="unparsable"), a_row("p4")])
    fill(b, [a_row("p1"), a_row("p2", failed="bad_text"), a_row("p3"),
             a_row("p4", pair=False)])  # fmt: skip
    comparison = compared(a, b)
    assert {figure.n for figure in comparison.outcomes} == {4}
    assert counts(comparison) == {
        "final CoT and response": (3, 3, 1, 1),
        "failed before that": (1, 1, 1, 1),
        "graded": (3, 3, 1, 1),
        "refuses in full": (0, 0, 0, 0),
        "preference pair": (3, 2, 2, 1),
    }
    assert comparison.failures == (
        ("pair left out: margin_too_small", 0, 1),
        ("refined_cots: bad_text", 0, 1),
        ("refined_cots: unparsable", 1, 0),
    )
    # A score needs a grade on both sides, and the figure says how many have one.
    (relevance, *_) = comparison.scores
    assert relevance.difference is not None
    assert relevance.difference.n == 2
    assert comparison.graded_on_both == 2


def test_prompts_of_one_side_alone_are_counted_and_not_compared(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1"), a_row("p2"), a_row("p3")])
    # The other side has them in other batches.
    fill(b, [a_row("p9"), a_row("p3")], batch="other-0001")
    fill(b, [a_row("p2")], batch="other-0002")
    comparison = compared(a, b)
    assert {one.prompt_id for one in comparison.prompts} == {"p2", "p3"}
    assert (comparison.only_a, comparison.only_b) == (1, 1)


def test_sides_without_a_common_prompt_are_a_mistake(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1")])
    fill(b, [a_row("p2")])
    with pytest.raises(SetupError, match="no prompt in common"):
        compared(a, b)


def test_scores_are_paired_and_have_intervals(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    first = [a_row(f"p{n:02}", score=1 + n % 4) for n in range(40)]
    second = [a_row(f"p{n:02}", score=2 + n % 4) for n in range(39)]
    fill(a, first)
    fill(b, [*second, a_row("p39", score=4)])
    (relevance, *_) = compared(a, b).scores
    assert relevance.difference is not None
    assert relevance.difference.value == pytest.approx(39 / 40)
    # What prompts share does not widen it: the scores of either side spread over four points.
    assert relevance.difference.low is not None
    assert relevance.difference.low > 0.9
    assert (relevance.higher, relevance.lower) == (39, 0)


def test_refusals_gained_and_lost_are_told_by_kind_of_prompt(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1", kind="harmful"), a_row("p2", kind="benign", refusal="full"),
             a_row("p3", kind="benign"), a_row("p4", kind="benign")])  # fmt: skip
    fill(b, [a_row("p1", kind="harmful", refusal="full"), a_row("p2", kind="benign"),
             a_row("p3", kind="benign", refusal="partial"),
             a_row("p4", failed="unparsable")])  # fmt: skip
    comparison = compared(a, b)
    told = {
        (kind, how_far): (one.n, one.a, one.b, one.gained, one.lost)
        for kind, how_far, one in comparison.refusals
    }
    assert told == {
        ("harmful", "in full"): (1, 0, 1, 1, 0),
        ("harmful", "in part"): (1, 0, 0, 0, 0),
        ("benign", "in full"): (2, 1, 0, 0, 1),
        ("benign", "in part"): (2, 0, 1, 1, 0),
    }
    assert comparison.graded_on_both == 3


def test_policies_that_rows_cite_are_counted_on_both_sides(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1", rules=("illegal.1",)), a_row("p2", rules=("illegal.2",))])
    fill(b, [a_row("p1", rules=("privacy.1",)), a_row("p2", failed="unparsable")])
    coverage = {one.name: (one.a, one.b, one.n) for one in compared(a, b).coverage}
    assert coverage == {"illegal": (2, 0, 2), "privacy": (0, 1, 2)}


def test_money_is_compared_in_one_currency_alone_and_failed_rows_cost_too(
    tmp_path: Path,
) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1", cost=0.25), a_row("p2", cost=0.25)])
    fill(b, [a_row("p1", cost=0.5), a_row("p2", cost=1.0, failed="unparsable")])
    same = compare(a_side(a, "a", "EUR"), a_side(b, "b", "EUR"))
    assert same.money is not None
    assert (same.money.a, same.money.b, same.currency) == (0.5, 1.5, "EUR")
    other = compare(a_side(a, "a", "EUR"), a_side(b, "b", "USD"))
    assert (other.money, other.currency) == (None, None)


def test_what_differs_in_the_recipe_is_named_and_policies_rule_by_rule(
    tmp_path: Path,
) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1")], under=policies())
    fill(b, [a_row("p1")], under=other_policies(), model="large-chat")
    comparison = compared(a, b)
    first = policies().policies[0]
    number = next(iter(first.rules))
    (difference,) = comparison.recipes
    assert difference.changes == (
        "model of refiner: small-chat → large-chat",
        f"policies: {first.id} changed",
        "policies: privacy added",
    )
    rule, whole = comparison.changed_policies
    assert (rule.title, rule.before) == (f"{first.id}.{number}", first.rules[number])
    assert rule.after == "Say why, in one sentence."
    assert (whole.title, whole.before, whole.is_whole_policy) == ("privacy", "", True)


def test_a_changed_template_is_shown_with_both_texts(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    shutil.copytree(PACKAGE / "prompts", folder)
    sides = []
    for lake in lakes(tmp_path):
        templates = load_templates(folder)
        fill(lake, [a_row("p1")], templates=templates)
        store_templates(lake, templates, Stage.REFINED_COTS)
        sides.append(lake)
        with (folder / "refined_cots/refiner.jinja").open("a") as template:
            template.write("Be brief.")
    (changed,) = compared(*sides).changed_templates
    assert changed.title == "template refined_cots/refiner"
    assert changed.after == f"{changed.before}Be brief."


def test_another_judge_is_named(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1", judge_model="small-judge")])
    fill(b, [a_row("p1", judge_model="large-judge")])
    assert compared(a, b).judges_changed == ("judge: small-judge", "judge: large-judge")
    assert compared(a, a).judges_changed is None


def test_rows_that_came_to_another_end_come_first_then_refusals_then_scores(
    tmp_path: Path,
) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row(f"p{n}") for n in range(6)])
    fill(b, [a_row("p0"), a_row("p1", response="Other words."), a_row("p2", score=4),
             a_row("p3", score=2), a_row("p4", refusal="full"),
             a_row("p5", failed="unparsable")])  # fmt: skip
    comparison = compared(a, b)
    assert [one.prompt_id for one in comparison.changed] == [
        "p5", "p4", "p3", "p2", "p1",
    ]  # fmt: skip
    assert comparison.changed[-1].changed == ("response",)
    assert dict(comparison.changes_by_kind())["scores"] == 2


def test_simulated_sides_are_named(tmp_path: Path) -> None:
    a, b = lakes(tmp_path)
    fill(a, [a_row("p1", simulated=True)])
    fill(b, [a_row("p1")])
    assert compared(a, b).simulated_sides == ("A",)
    assert compared(b, b).simulated_sides == ()


def test_rehearsals_among_rows_of_a_model_are_left_out_and_counted(
    tmp_path: Path,
) -> None:
    a, b = lakes(tmp_path)
    for lake in (a, b):
        fill(lake, [a_row("p1"), a_row("p2")])
        fill(lake, [a_row("p3", simulated=True)], batch="demo-0001")
    comparison = compared(a, b)
    assert {one.prompt_id for one in comparison.prompts} == {"p1", "p2"}
    assert comparison.simulated_left_out == 1
    assert comparison.simulated_sides == ()
