"""Scripts that put no spaces between words, in which each sign counts as a word."""

import re

UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
)
"""Thai to Tibetan, Burmese, Khmer, Japanese and Chinese: a range for a regular expression."""
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_SIGN = re.compile(f"[{UNSPACED}]")


def split_words(text: str) -> list[str]:
    """Split a text at white space, and where there is none, into signs."""
    return _WORD.findall(text)


def is_unspaced(word: str) -> bool:
    """Tell whether a word is a sign of a script without spaces."""
    return len(word) == 1 and _SIGN.match(word) is not None


def is_mostly_unspaced(words: list[str] | tuple[str, ...]) -> bool:
    """Tell whether most of the words are signs of such scripts."""
    return sum(map(is_unspaced, words)) > len(words) / 2
