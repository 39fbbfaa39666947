"""Token counts of a reply, under the names of all dialects and whatever a server sends for them.

Not every server counts, and some send null, text, or nonsense. A count that is none is 0: it never
costs the answer.
"""

import math
from collections.abc import Mapping
from typing import Any

from aidsafe_dagster.recipe.records import Usage

_MAX_COUNT = 100_000_000
"""More tokens than any context has. A larger count is nonsense."""


def usage_of(reply: Mapping[str, Any], reasoning_share: float) -> Usage:
    """Return what a reply used.

    Args:
        reply: the whole reply.
        reasoning_share: of the text, for servers that do not count reasoning apart, 0 to 1.
    """
    usage = _table(reply.get("usage")) or _table(reply.get("usage_metadata"))
    prompt_tokens = _first(usage, "prompt_tokens", "promptTokenCount")
    cached = _cached_tokens(usage)
    if not prompt_tokens:
        # Anthropic leaves what it read from and wrote into its cache out of the input.
        written = _first(usage, "cache_creation_input_tokens")
        read = _first(usage, "cache_read_input_tokens")
        prompt_tokens = _first(usage, "input_tokens", "prompt_eval_count")
        prompt_tokens += written + read
    completion_tokens = _first(
        usage, "completion_tokens", "output_tokens", "eval_count"
    )
    reasoning = _reasoning_tokens(usage)
    total = _first(usage, "total_tokens")
    # Some count reasoning beside the answer and not within it.
    if reasoning and total == prompt_tokens + completion_tokens + reasoning:
        completion_tokens += reasoning
    if not reasoning:
        reasoning = round(reasoning_share * completion_tokens)
    return Usage(
        calls=1,
        prompt_tokens=prompt_tokens,
        cached_tokens=min(cached, prompt_tokens),
        completion_tokens=completion_tokens,
        reasoning_tokens=min(reasoning, completion_tokens),
    )


def _cached_tokens(usage: Mapping[str, Any]) -> int:
    for name in ("prompt_tokens_details", "input_tokens_details"):
        cached = _first(_table(usage.get(name)), "cached_tokens")
        if cached:
            return cached
    return _first(
        usage, "cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens"
    )


def _reasoning_tokens(usage: Mapping[str, Any]) -> int:
    for name in ("completion_tokens_details", "output_tokens_details"):
        reasoning = _first(_table(usage.get(name)), "reasoning_tokens")
        if reasoning:
            return reasoning
    return _first(usage, "reasoning_tokens")


def _first(usage: Mapping[str, Any], *names: str) -> int:
    """Return the first count under one of the names; 0 without one."""
    for name in names:
        count = _count(usage.get(name))
        if count:
            return count
    return 0


def _count(value: Any) -> int:
    # Asked for several names of each count, most of which a server does not use.
    if value is None:
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    if not math.isfinite(number) or not 0 < number <= _MAX_COUNT:
        return 0
    return int(number)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
