"""Counts on the terminal read as English, and so does what an ingestion tells."""

from types import SimpleNamespace
from typing import Any

import pytest

from aidsafe_dagster.cli.console import quantity
from aidsafe_dagster.cli.overview import ingestion_text


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


def ingested(**values: Any) -> dict[str, Any]:
    """The metadata of an ingestion."""
    metadata: dict[str, Any] = {}
    for name in ("new_batches", "dropped"):
        records = [SimpleNamespace(data=row) for row in values.get(name, [])]
        metadata[name] = SimpleNamespace(records=records)
    for name, default in (("new_prompts", 0), ("restored", []), ("seen_before", 0)):
        metadata[name] = SimpleNamespace(value=values.get(name, default))
    return metadata


def test_one_prompt_in_one_batch_is_told_in_the_singular() -> None:
    metadata = ingested(
        new_prompts=1,
        new_batches=[{"batch": "mine-0001", "count": 1}],
        seen_before=1,
    )
    assert ingestion_text(metadata).splitlines() == [
        "1 new prompt in 1 new batch",
        "  mine-0001: 1 prompt",
        "  1 row was seen by an earlier ingestion",
    ]


def test_dropped_rows_and_restored_batches_are_told() -> None:
    metadata = ingested(
        new_prompts=0,
        dropped=[{"source: reason": "mine: duplicate", "count": 3}],
        restored=["mine-0002"],
        seen_before=2,
    )
    assert ingestion_text(metadata).splitlines() == [
        "0 new prompts in 0 new batches",
        "  [yellow]dropped[/] 3: mine: duplicate",
        "  [yellow]restored[/] from the sealed copy, damaged or gone before: mine-0002",
        "  2 rows were seen by an earlier ingestion",
    ]
