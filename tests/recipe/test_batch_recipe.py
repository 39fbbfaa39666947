"""What differs between two recipes is said in words that a person can look for."""

from aidsafe_dagster.recipe.batch_recipe import (
    RecipePart,
    describe_changes,
    fingerprint_of,
    shortened,
)


def part(
    name: str, value: str, of: str = "", *, is_default: bool = False
) -> RecipePart:
    return RecipePart(name=name, of=of, value=value, is_default=is_default)


def test_each_kind_of_change_has_a_name() -> None:
    earlier = [
        part("policies", "#1", "fraud"),
        part("policies", "#2", "privacy"),
        part("template", "#3", "refined_cots/refiner"),
        part("model", "a", "judge"),
        part("model", "c", "refiner"),
        part("sampling.temperature", "0.7", "judge"),
        part("sampling.temperature", "0.7", "refiner"),
        part("extra_body", "#4", "judge"),
    ]
    present = [
        part("policies", "#9", "fraud"),
        part("policies", "#2", "weapons"),
        part("template", "#9", "refined_cots/refiner"),
        part("model", "b", "judge"),
        part("model", "c", "refiner"),
        part("sampling.temperature", "0.9", "judge"),
        part("sampling.temperature", "0.9", "refiner"),
        part("extra_body", "#5", "judge"),
    ]
    assert describe_changes(earlier, present) == (
        "policies: fraud changed",
        "policies: privacy removed",
        "template refined_cots/refiner changed",
        "model of judge: a → b",
        "sampling.temperature: 0.7 → 0.9",
        "extra_body changed",
        "policies: weapons added",
    )


def test_roles_that_change_alike_share_a_line() -> None:
    earlier = [part("model", "a", "judge"), part("model", "a", "refiner")]
    present = [part("model", "b", "judge"), part("model", "b", "refiner")]
    assert describe_changes(earlier, present) == ("model of judge, refiner: a → b",)


def test_a_setting_that_one_release_does_not_know_changes_nothing_until_it_is_set() -> (
    None
):
    unset = part("checks.reject_new_fault", "true", is_default=True)
    assert describe_changes([], [unset]) == ()
    assert describe_changes([unset], []) == ()
    was_set = part("checks.reject_new_fault", "false")
    assert describe_changes([], [was_set]) == (
        "checks.reject_new_fault: (not set) → false",
    )


def test_the_fingerprint_is_the_same_in_any_order() -> None:
    parts = [part("seed", "0"), part("model", "a", "judge")]
    assert fingerprint_of(parts) == fingerprint_of(parts[::-1])
    assert fingerprint_of(parts) != fingerprint_of(parts[:1])


def test_of_many_changes_only_the_first_are_shown() -> None:
    changes = [f"change {number}" for number in range(9)]
    assert shortened(changes).endswith("change 5; and 3 more")
