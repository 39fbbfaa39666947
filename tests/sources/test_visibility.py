"""A prompt that nobody can see is no prompt."""

from pathlib import Path

import pytest

from aidsafe_dagster.sources.visibility import is_visible, name_characters
from tests.sources.builders import (
    a_source,
    reasons,
    run_ingestion,
    texts,
    write_prompts,
)


@pytest.mark.parametrize(
    "text",
    [
        "\u200b\u200b",
        "\u2800\u2800",
        "\ufeff",
        "\x00\x00",
        "\u3164",
        "\u00ad\u2060",
        "\U000e0041\U000e0042",
        "\ufe0f",
        "\u0301",
        "\x1b",
        " \u3000\u00a0",
        "\ufffd\ufffd",
    ],
)
def test_controls_blanks_and_marks_alone_are_invisible(text: str) -> None:
    assert not is_visible(text)


@pytest.mark.parametrize("text", ["a\u200b", "\u200bяблоко", "?", "😀", "ก็", "1"])
def test_one_character_that_is_seen_is_enough(text: str) -> None:
    assert is_visible(text)


def test_an_invisible_prompt_is_rejected_and_its_characters_are_named(
    tmp_path: Path,
) -> None:
    path = write_prompts(tmp_path / "a.jsonl", "\u200b\u200b\ufeff", "Seen\u200b")
    ingestion = run_ingestion(a_source(path))
    assert texts(ingestion) == ["Seen\u200b"]
    assert reasons(ingestion) == [("a.jsonl row 1", "no_prompt")]
    assert "only U+200B, U+FEFF" in ingestion.dropped[0].detail
    assert name_characters("\x00 ") == "U+0000"
