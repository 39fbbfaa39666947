"""What the policy editor's answers must be to reach a person."""

import pytest

from aidsafe_dagster.recipe.bad_answers import BadText
from aidsafe_dagster.recipe.policy_editor import require_reason

RULES = ("house.1", "house.2")


@pytest.mark.parametrize(
    "reason",
    [
        "The rule house.2:",
        "house.1 house.2",
        "It is vague.",
        "模糊。",
        "It names no limit, and readers differ because",
    ],
)
def test_a_reason_that_says_nothing_or_breaks_off_is_refused(reason: str) -> None:
    with pytest.raises(BadText):
        require_reason(reason, RULES)


@pytest.mark.parametrize(
    "reason",
    [
        "'appropriate' can mean anything",
        "Rule house.1 allows what house.2 forbids",
        "这条规则没有说明期限",
        "القاعدة لا تذكر مدة محددة",
    ],
)
def test_a_reason_may_be_short_and_in_any_script(reason: str) -> None:
    require_reason(reason, RULES)
