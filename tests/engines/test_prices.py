"""Prices: what tokens cost, one currency for all servers, and how money is written."""

import pytest

from aidsafe_dagster.engines.prices import common_currency, cost_of, format_money
from aidsafe_dagster.engines.settings import Prices
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage

USED = Usage(
    calls=1,
    prompt_tokens=3_000_000,
    cached_tokens=1_000_000,
    completion_tokens=500_000,
    reasoning_tokens=400_000,
)


def test_cached_input_has_its_own_price_and_reasoning_is_part_of_the_output() -> None:
    assert cost_of(USED, Prices(input=2, cached=0.5, output=8)) == 4 + 0.5 + 4


def test_without_a_price_of_their_own_cached_tokens_cost_as_other_input() -> None:
    assert cost_of(USED, Prices(input=2, output=8)) == 6 + 4


def test_a_cached_price_of_zero_is_a_price() -> None:
    assert cost_of(USED, Prices(input=2, cached=0, output=8)) == 4 + 4


def test_servers_without_prices_have_no_say_in_the_currency() -> None:
    euros = Prices(input=1, currency="EUR")
    assert common_currency({"endpoint": Prices(), "servers.fast": euros}) == "EUR"
    assert common_currency({"endpoint": Prices()}) == ""


def test_two_currencies_are_never_added() -> None:
    prices = {
        "endpoint": Prices(input=1),
        "servers.fast": Prices(output=1, currency="EUR"),
    }
    with pytest.raises(SetupError) as error:
        common_currency(prices)
    assert r"USD ([endpoint.prices]), EUR ([servers.fast.prices])" in str(error.value)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "USD 0.00"),
        (1204.5, "USD 1,204.50"),
        (0.5, "USD 0.50"),
        (0.0042, "USD 0.0042"),
        (0.00001234, "USD 0.000012"),
    ],
)
def test_small_amounts_keep_two_significant_digits(amount: float, text: str) -> None:
    assert format_money(amount, "USD") == text
