"""What differs between the recipes of two sides, by name; of policies, rule by rule."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from aidsafe_dagster.comparisons.sides import Side
from aidsafe_dagster.lake.policy_texts import read_policy
from aidsafe_dagster.lake.template_texts import read_template
from aidsafe_dagster.recipe.batch_recipe import POLICIES, StageRecipe
from aidsafe_dagster.recipe.policies import Policy
from aidsafe_dagster.tryout.comparison import (
    ChangedText,
    changed_templates,
    recipe_changes,
)

_NOT_RECORDED = "what differs is not recorded: an earlier release made one of the sides"


@dataclass(frozen=True)
class ChangedRule(ChangedText):
    """A rule of a policy, its title or the like; or a whole policy."""

    is_whole_policy: bool
    """One of the sides does not have the policy."""


@dataclass(frozen=True)
class RecipeDifference:
    """What differs in the recipe of some batches."""

    changes: tuple[str, ...]
    """In words. Empty if the recipes are the same."""
    batches: tuple[str, ...]
    """Of the first side."""
    policies: tuple[ChangedRule, ...]
    """The rules that differ, with their texts, where these were kept."""
    templates: tuple[ChangedText, ...] = ()
    """The same of templates."""


def recipe_differences(
    a: Side, b: Side, pairs: Iterable[tuple[str, str]]
) -> tuple[RecipeDifference, ...]:
    """Return what differs, each difference once, with the batches that it concerns.

    Args:
        a: the first side.
        b: the second side.
        pairs: batches of the two sides that share prompts.
    """
    batches: dict[tuple[str, ...], list[str]] = {}
    policies: dict[tuple[str, ...], tuple[ChangedRule, ...]] = {}
    templates: dict[tuple[str, ...], tuple[ChangedText, ...]] = {}
    for batch, other in pairs:
        first, second = a.recipes(batch), b.recipes(other)
        changes = recipe_changes(first, second)
        if not first or not second:
            changes = (_NOT_RECORDED,)
        batches.setdefault(changes, []).append(batch)
        if changes not in policies:
            policies[changes] = tuple(_changed_policies(a, b, first, second))
            templates[changes] = tuple(_changed_templates(a, b, first, second))
    return tuple(
        RecipeDifference(
            changes,
            tuple(dict.fromkeys(own)),
            policies[changes],
            templates[changes],
        )
        for changes, own in batches.items()
    )


def _changed_policies(
    a: Side,
    b: Side,
    first: Mapping[str, StageRecipe],
    second: Mapping[str, StageRecipe],
) -> Iterator[ChangedRule]:
    olds, news = _policies(first), _policies(second)
    for policy_id in sorted(olds.keys() | news.keys()):
        old, new = olds.get(policy_id), news.get(policy_id)
        if old == new:
            continue
        before = read_policy(a.texts, old) if old else None
        after = read_policy(b.texts, new) if new else None
        # Without one of the texts, nothing can be said of its rules.
        if (old and not before) or (new and not after):
            continue
        if before is None or after is None:
            yield ChangedRule(policy_id, _text(before), _text(after), True)
            continue
        texts, others = _lines(before), _lines(after)
        for name in dict.fromkeys([*texts, *others]):
            one, other = texts.get(name, ""), others.get(name, "")
            if one != other:
                sign = "." if name.isdecimal() else ", "
                yield ChangedRule(f"{policy_id}{sign}{name}", one, other, False)


def _changed_templates(
    a: Side,
    b: Side,
    first: Mapping[str, StageRecipe],
    second: Mapping[str, StageRecipe],
) -> Iterator[ChangedText]:
    return changed_templates(
        first,
        second,
        partial(read_template, a.texts),
        partial(read_template, b.texts),
    )


def _policies(recipes: Mapping[str, StageRecipe]) -> Mapping[str, str]:
    """Return the hash of each policy. Stages of several recipes count as the last of them."""
    hashes = {}
    for recipe in recipes.values():
        for part in recipe.parts:
            if part.name == POLICIES:
                hashes[part.of] = part.value
    return hashes


def _text(policy: Policy | None) -> str:
    if policy is None:
        return ""
    return "\n".join(f"{name}: {text}" for name, text in _lines(policy).items())


def _lines(policy: Policy) -> Mapping[str, str]:
    return {
        "title": policy.title,
        "purpose": policy.purpose,
        "applies": policy.applies,
        "categories": ", ".join(policy.categories),
        **policy.rules,
    }
