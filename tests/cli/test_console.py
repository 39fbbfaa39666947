"""Counts on the terminal read as English."""

import pytest

from aidsafe_dagster.cli.console import quantity


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "batch", "0 batches"),
        (1, "batch", "1 batch"),
        (2, "new batch", "2 new batches"),
        (1, "prompt", "1 prompt"),
        (12_000, "row", "12,000 rows"),
        (4, "GPU", "4 GPUs"),
    ],
)
def test_a_count_agrees_with_its_noun(count: int, noun: str, text: str) -> None:
    assert quantity(count, noun) == text
