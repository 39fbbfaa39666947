"""Token counts under the names of several dialects."""

from typing import Any

import pytest

from aidsafe_dagster.engines.usage_counts import usage_of

OPENAI = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 30},
}
RESPONSES = {
    "input_tokens": 100,
    "output_tokens": 50,
    "input_tokens_details": {"cached_tokens": 60},
    "output_tokens_details": {"reasoning_tokens": 30},
}
ANTHROPIC = {
    "input_tokens": 30,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 10,
    "output_tokens": 50,
    "reasoning_tokens": 30,
}
DEEPSEEK = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_cache_hit_tokens": 60,
    "completion_tokens_details": {"reasoning_tokens": 30},
}
BESIDE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 30},
}
TEXTS = {
    "prompt_tokens": "100",
    "completion_tokens": 50.0,
    "cached_tokens": "60",
    "reasoning_tokens": "30",
}


@pytest.mark.parametrize(
    "usage", [OPENAI, RESPONSES, ANTHROPIC, DEEPSEEK, BESIDE, TEXTS]
)
def test_the_same_counts_come_from_all_dialects(usage: dict[str, Any]) -> None:
    counts = usage_of({"usage": usage}, 0.0)
    assert counts.prompt_tokens == 100
    assert counts.cached_tokens == 60
    assert counts.completion_tokens == 50
    assert counts.reasoning_tokens == 30


def test_reasoning_that_is_not_counted_is_estimated_by_its_share_of_the_text() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 50}
    assert usage_of({"usage": usage}, 0.8).reasoning_tokens == 40


@pytest.mark.parametrize(
    "value", [None, -5, float("nan"), float("inf"), 10**40, "many", [], {"a": 1}]
)
def test_what_is_no_count_is_zero(value: Any) -> None:
    details = {"cached_tokens": value}
    usage = {
        "prompt_tokens": value,
        "completion_tokens": value,
        "prompt_tokens_details": details,
        "completion_tokens_details": value,
    }
    counts = usage_of({"usage": usage}, 0.5)
    assert counts.model_dump() == {
        "calls": 1,
        "prompt_tokens": 0,
        "cached_tokens": 0,
        "completion_tokens": 0,
        "reasoning_tokens": 0,
        "cost": 0.0,
    }


def test_a_part_is_never_more_than_the_whole() -> None:
    usage = {"prompt_tokens": 10, "cached_tokens": 20, "reasoning_tokens": 5}
    counts = usage_of({"usage": usage}, 0.0)
    assert (counts.cached_tokens, counts.reasoning_tokens) == (10, 0)
