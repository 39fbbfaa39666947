"""Which variants an experiment has, and which are refused."""

from typing import Any

import pytest

from aidsafe_dagster.engines.roles import RoleSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.launchpad import configured_in_shell
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.ablation_plans import (
    AS_CONFIGURED,
    AblationConfig,
    PlannedVariant,
    plan_models,
    plan_round_table,
    plan_variants,
    target_roles,
)


def names_of(plan: list[PlannedVariant]) -> list[str]:
    return [planned.variant.name for planned in plan]


def test_rounds_go_up_to_those_of_the_settings_and_share_their_requests() -> None:
    settings = Settings(deliberation={"max_rounds": 2})
    plan = plan_variants("rounds", settings, AblationConfig())
    assert names_of(plan) == ["0 rounds", "1 round", "2 rounds"]
    # The deliberation of all is that of the settings, cut off.
    for planned in plan:
        assert planned.variant.deliberation == settings.deliberation
    assert [planned.variant.stop_after for planned in plan] == [0, 1, 2]


def test_agents_in_turn_are_the_reference_of_round_tables() -> None:
    settings = Settings(deliberation={"style": "round_table"})
    plan = plan_round_table(settings, [4, 3, 4])
    assert names_of(plan) == ["2 in turn", "round table of 4", "round table of 3"]
    assert plan[0].variant.deliberation.style == "in_turn"
    assert plan[1].variant.deliberation.agents == 4


def test_without_sizes_the_round_tables_are_those_of_the_settings() -> None:
    settings = Settings(ablation={"agents": [5]})
    assert names_of(plan_round_table(settings))[1:] == ["round table of 5"]


def test_the_context_is_compared_whichever_of_the_two_is_set() -> None:
    for configured in ("fresh", "chat"):
        settings = Settings(deliberation={"context": configured})
        plan = plan_variants("context", settings, AblationConfig())
        contexts = [planned.variant.deliberation.context for planned in plan]
        assert contexts == ["fresh", "chat"]


def test_models_come_from_the_settings_unless_some_are_asked_for() -> None:
    settings = Settings(ablation={"models": {"small": {"refiner": {"model": "s"}}}})
    assert names_of(plan_models(settings)) == [AS_CONFIGURED, "small"]
    asked = {"large": {"deliberator": {"model": "l"}}}
    assert names_of(plan_models(settings, asked)) == [AS_CONFIGURED, "large"]


def test_a_role_that_changes_changes_for_agents_with_models_of_their_own() -> None:
    settings = Settings(
        roles={
            "deliberator_2": RoleSettings(model="configured"),
            "refiner": RoleSettings(model="configured"),
        }
    )
    plan = plan_models(settings, {"small": {"deliberator": {"model": "small"}}})
    assert plan[1].roles == {
        "deliberator": {"model": "small"},
        "deliberator_2": {"model": "small"},
    }


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({}, "name the models to compare"),
        ({"x": {"judge": {"model": "m"}}}, "judge cannot differ"),
        ({"x": {"deliberator_3": {"model": "m"}}}, "no deliberator_3"),
        ({AS_CONFIGURED: {"refiner": {"model": "m"}}}, "choose another name"),
    ],
)
def test_a_variant_that_could_not_be_compared_is_refused(
    variants: dict[str, Any], words: str
) -> None:
    with pytest.raises(SetupError, match=words):
        plan_models(Settings(), variants)


def test_a_run_that_was_configured_elsewhere_cannot_send_prompts_elsewhere() -> None:
    elsewhere = {"model": "m", "base_url": "http://elsewhere.test/v1"}
    with pytest.raises(SetupError, match=r"roles\.refiner\.base_url"):
        plan_models(Settings(), {"x": {"refiner": elsewhere}})
    with pytest.raises(SetupError, match=r"roles\.target\.base_url"):
        target_roles(Settings(), {"x": elsewhere})
    with configured_in_shell():
        assert len(target_roles(Settings(), {"x": elsewhere})) == 2


def test_a_server_of_the_settings_may_be_named_anywhere() -> None:
    settings = Settings(
        ablation={"targets": {"other": {"base_url": "http://a.test/v1", "model": "m"}}}
    )
    assert target_roles(settings)["other"] == {
        "target": {"base_url": "http://a.test/v1", "model": "m"}
    }


def test_the_configured_target_is_always_the_first() -> None:
    roles = target_roles(Settings(), {"aligned": {"model": "m"}})
    assert list(roles) == [AS_CONFIGURED, "aligned"]
    assert roles[AS_CONFIGURED] == {}
    with pytest.raises(SetupError, match="always measured"):
        target_roles(Settings(), {AS_CONFIGURED: {"model": "m"}})
