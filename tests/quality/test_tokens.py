"""Counts are exact with a tokenizer and estimates without, and are named accordingly."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from aidsafe_dagster.quality.tokens import estimate_tokens, load_token_counter
from aidsafe_dagster.recipe.errors import SetupError


def a_tokenizer_file(folder: Path) -> Path:
    """One token per word, with a start token, truncated to two tokens and padded to two."""
    tokenizer = Tokenizer(
        WordLevel({"[UNK]": 0, "[BOS]": 1, "lock": 2, "key": 3}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[BOS] $A", special_tokens=[("[BOS]", 1)]
    )
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=2)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("锁", 1),
        ("锁锁", 2),
        ("ก" * 10, 6),
        ("ش" * 10, 4),
    ],
)
def test_the_estimate_is_by_bytes_or_by_signs_of_a_script_rounded_up(
    text: str, tokens: int
) -> None:
    assert estimate_tokens(text) == tokens


def test_without_a_tokenizer_the_count_is_called_an_estimate() -> None:
    counter = load_token_counter(None)
    assert (counter("abcdefgh"), counter.exact, counter.name) == (
        2,
        False,
        "estimate (UTF-8 bytes / 4; by script where it is not Latin)",
    )


def test_a_tokenizer_counts_all_words_and_no_special_tokens(tmp_path: Path) -> None:
    counter = load_token_counter(a_tokenizer_file(tmp_path))
    assert counter.exact
    assert "tokenizer.json" in counter.name
    assert counter("lock key lock zebra") == 4
    assert counter("lock") == 1
    assert counter("") == 0


def test_a_folder_is_accepted_in_place_of_its_tokenizer(tmp_path: Path) -> None:
    a_tokenizer_file(tmp_path)
    assert load_token_counter(str(tmp_path))("lock key lock") == 3


def test_the_error_of_a_missing_tokenizer_names_it(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"tokenizer\.json.*no tokenizer here"):
        load_token_counter(tmp_path)


def test_the_error_of_an_invalid_tokenizer_names_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SetupError, match="not a tokenizer file"):
        load_token_counter(tmp_path)
