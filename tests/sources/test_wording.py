import unicodedata

import pytest

from aidsafe_dagster.sources.wording import normalised_words

TEXT = "Don't I know how to kill a Python process?"


@pytest.mark.parametrize(
    "disguised",
    [
        TEXT.upper(),
        "DON’T I know -- how to (kill) a “Python” process …",
        "".join(
            chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in TEXT
        ),
        "\u200b".join(TEXT),
        unicodedata.normalize("NFD", TEXT.replace("o", "ö").replace("a", "á")),
        TEXT.replace("o", "о").replace("a", "а").replace("i", "і").replace("p", "р"),
        "  Don't\nI\tknow how to\u00a0kill a Python process ",
    ],
)
def test_a_disguise_does_not_change_the_words(disguised: str) -> None:
    assert normalised_words(disguised) == (
        "dont",
        "i",
        "know",
        "how",
        "to",
        "kill",
        "a",
        "python",
        "process",
    )


def test_a_script_without_spaces_is_split_into_characters() -> None:
    assert normalised_words("如何杀死Python进程？") == (
        "如",
        "何",
        "杀",
        "死",
        "python",
        "进",
        "程",
    )


def test_symbols_are_not_words() -> None:
    assert normalised_words("… 😀 -- !") == ()
