"""What runs asked of models: calls, tokens and money, from what their steps reported."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aidsafe_dagster.cli.console import quantity, short_count
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.recipe.records import Usage

if TYPE_CHECKING:
    # Other commands describe spending without it.
    import dagster as dg

_USAGE_BY_METADATA: Mapping[str, str] = {
    "calls_made": "calls",
    "tokens_in": "prompt_tokens",
    "tokens_in_cached": "cached_tokens",
    "tokens_out": "completion_tokens",
    "tokens_reasoning": "reasoning_tokens",
    "cost": "cost",
}
"""Key of a materialization's metadata → field of `Usage` (`stages/metadata.py`)."""


@dataclass(frozen=True)
class Spending:
    """What the finished steps of runs spent. Replayed calls cost nothing."""

    usage: Usage = Usage()
    replayed: int = 0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(self.usage + other.usage, self.replayed + other.replayed)


def spending_in(events: "Iterable[dg.DagsterEvent]") -> Spending:
    """Add up what the materializations among a run's events report."""
    total = Spending()
    for event in events:
        if event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            total += _spending_of(materialization.metadata)
    return total


def describe_spending(spending: Spending, currency: str) -> str:
    """Return calls and tokens, and the money where there are prices, as one line."""
    if not spending.usage.calls and not spending.replayed:
        return "no calls"
    if not spending.usage.calls:
        return f"no new calls, {spending.replayed:,} replayed"
    calls = quantity(spending.usage.calls, "call")
    if spending.replayed:
        calls += f" ({spending.replayed:,} more replayed)"
    parts = [calls, describe_usage(spending.usage)]
    if currency:
        parts.append(format_money(spending.usage.cost, currency))
    return ", ".join(parts)


def describe_usage(usage: Usage) -> str:
    """Return `12.3k tokens in (8.0k cached), 3.2k out (1.0k reasoning)`."""
    tokens_in = short_count(usage.prompt_tokens)
    cached = short_count(usage.cached_tokens)
    tokens_out = short_count(usage.completion_tokens)
    reasoning = short_count(usage.reasoning_tokens)
    return f"{tokens_in} tokens in ({cached} cached), {tokens_out} out ({reasoning} reasoning)"


def _spending_of(metadata: "Mapping[str, dg.MetadataValue[Any]]") -> Spending:
    usage = {}
    for key, field in _USAGE_BY_METADATA.items():
        # Other assets may show something else under the same name, such as a table.
        value = metadata[key].value if key in metadata else None
        if isinstance(value, int | float):
            usage[field] = value
    replayed = 0
    if "calls_replayed" in metadata:
        replayed = int(metadata["calls_replayed"].value)
    return Spending(Usage(**usage), replayed)
