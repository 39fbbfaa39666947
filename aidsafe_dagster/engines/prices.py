"""What completions cost at a server's prices, and how money is written."""

from collections.abc import Mapping
from math import floor, log10

from aidsafe_dagster.engines.settings import Prices
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage

_PER = 1e6
"""Tokens that a price is for."""


def cost_of(usage: Usage, prices: Prices) -> float:
    """Return what tokens cost at these prices, in their currency."""
    cached_price = prices.input if prices.cached is None else prices.cached
    uncached = usage.prompt_tokens - usage.cached_tokens
    cost = (
        uncached * prices.input
        + usage.cached_tokens * cached_price
        + usage.completion_tokens * prices.output
    )
    return cost / _PER


def is_priced(prices: Prices) -> bool:
    """Tell whether anything costs money. A server without prices is free, or nobody set them."""
    return any((prices.input, prices.cached, prices.output))


def common_currency(prices_by_place: Mapping[str, Prices]) -> str:
    """Return the currency of all prices; empty if nothing is priced.

    A row adds up what the calls to several servers cost, so they need one currency.

    Args:
        prices_by_place: prices by their place in the settings, such as 'servers.fast'.

    Raises:
        SetupError: there are several; names a place of each.
    """
    places: dict[str, str] = {}
    for place, prices in prices_by_place.items():
        if is_priced(prices):
            places.setdefault(prices.currency, place)
    if len(places) > 1:
        listing = ", ".join(
            f"{currency} ([{place}.prices])" for currency, place in places.items()
        )
        raise SetupError(
            f"prices are in several currencies: {listing}; money of a row is one sum, "
            "so give all prices in one currency"
        )
    return next(iter(places), "")


def format_money(amount: float, currency: str = "") -> str:
    """Return an amount as text: two decimals, or two significant digits below 1.

    `USD 1,204.50`, `USD 0.0042`
    """
    digits = 2
    if 0 < abs(amount) < 1:
        digits = 1 - floor(log10(abs(amount)))
    return f"{currency} {amount:,.{digits}f}".strip()
