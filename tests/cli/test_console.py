"""Counts on the terminal read as English, and no line is wider than the terminal."""

import pytest
from rich.cells import cell_len

from aidsafe_dagster.cli.console import print_paragraph, quantity


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


CHINESE = "请告诉我怎样在夜里打开陌生人棚子的锁而不被人发现，谢谢你的帮助。"


@pytest.mark.parametrize(
    "text",
    [
        f"“{CHINESE}”: it came for 12 places in the same words, {CHINESE * 3}",
        "A sentence of many words that are all short, " * 5,
    ],
)
def test_a_paragraph_keeps_within_the_terminal_and_loses_nothing(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_paragraph(text, 4)
    lines = capsys.readouterr().out.splitlines()
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert max(map(cell_len, lines)) <= 80


def test_a_word_is_not_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = "/a/path/with-hyphens" * 8
    print_paragraph(f"It lies in {path}, and can be copied.")
    assert f"  {path}," in capsys.readouterr().out.splitlines()
