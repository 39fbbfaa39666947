"""What the presets and the bundled samples say of their prompts fits the bundled policies."""

import json
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.policies import Policies, load_policies
from aidsafe_dagster.sources.presets import PRESETS
from aidsafe_dagster.sources.source import SAMPLES

POLICIES = Path(SAMPLES).parent / "policies"


def preset_categories() -> list[str]:
    names = list[str]()
    for preset in PRESETS.values():
        names.extend(preset.categories)
    return names


def sample_categories() -> list[str]:
    names = set()
    for file in SAMPLES.glob("*.jsonl"):
        for line in file.read_text("utf-8").splitlines():
            names.add(json.loads(line)["category"])
    # Of some samples the source gives no category.
    return sorted(names - {""})


def listing(policies: Policies, category: str) -> list[str]:
    return [policy.id for policy in policies.policies if policy.concerns(category)]


@pytest.mark.parametrize("category", [*preset_categories(), *sample_categories()])
def test_every_category_of_a_preset_or_a_sample_stands_in_a_policy(
    category: str,
) -> None:
    policies = load_policies(POLICIES)
    concerned = listing(policies, category)
    assert concerned
    assert set(concerned) <= set(policies.applicable(category, ()))


def test_each_category_that_names_a_harm_meets_more_than_the_policy_of_all_rows() -> (
    None
):
    policies = load_policies(POLICIES)
    harms = set(PRESETS["beavertails"].categories) - {"controversial_topics,politics"}
    for category in harms:
        assert set(listing(policies, category)) - {"respect_and_helpfulness"}


def test_beavertails_has_its_fourteen_categories() -> None:
    assert len(set(PRESETS["beavertails"].categories)) == 14
    assert len(PRESETS["beavertails"].categories) == 14


def test_no_policy_lists_a_category_that_nothing_bundled_has() -> None:
    known = {*preset_categories(), *sample_categories()}
    for policy in load_policies(POLICIES).policies:
        assert set(policy.categories) <= known
