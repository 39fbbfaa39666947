"""What a search compares: text without what a person does not type.

Folded text is in lower case, in compatible characters (full width is half width), with straight
quotes and single spaces, and without accents, Arabic and Hebrew vowel signs, and characters that
nobody sees. Marks that change a letter in other scripts stay: か is not が.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

_ACCENTS = r"\u0300-\u036f"
_VOWEL_SIGNS = (
    r"\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
)
_UNSEEN = r"\u00ad\u0640\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
_DROPPED = f"[{_ACCENTS}{_VOWEL_SIGNS}{_UNSEEN}]"
_REPLACED = {
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "…": "...",
    "ς": "σ",
    # Letters that many keyboards do not have, and Unicode does not take apart.
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "ł": "l",
    "đ": "d",
}
_SPACES = r"[\s\x00-\x1f]{2,}|[^\S ]|[\x00-\x1f]"
"""What becomes one space; a single one is left alone, and there are many."""
_NOT_PLAIN = (
    r"[^\x00-\x7f\u00b7\u00d7\u2012-\u2015\u2018\u2019\u201c\u201d\u2022\u2026\u2192]"
)
"""Finds the characters that need more than lower case; the others are most of English text."""
_WORDS = re.compile(r'"([^"]+)"|(\S+)')


_MOST_FOLDED = 300_000
"""Characters of one text in which matches are marked; more would keep a reader waiting."""


class Passage(NamedTuple):
    """A piece of a text, with what was searched for marked."""

    text: str
    is_match: bool


def fold(text: str) -> str:
    """Return the text as searches compare it."""
    return "".join(folded for folded, _ in _folded_letters(text)).strip()


def folded(text: pl.Series) -> pl.Series:
    """Return `fold` of many texts."""
    name = text.name
    frame = text.alias("text").to_frame().with_row_index("place")
    # Normalising takes most of the time, and most texts need none.
    needs_more = pl.col("text").str.contains(_NOT_PLAIN).fill_null(value=False)
    plain = frame.filter(~needs_more).with_columns(pl.col("text").str.to_lowercase())
    others = frame.filter(needs_more).with_columns(_normalised(pl.col("text")))
    joined = pl.concat([plain, others]).sort("place")
    spaced = pl.col("text").str.replace_many(_REPLACED).str.replace_all(_SPACES, " ")
    return joined.select(spaced.str.strip_chars(" ").alias(name)).to_series()


def words_of(query: str) -> tuple[str, ...]:
    """Return what a text has to contain, folded: words, and phrases that stand in quotes."""
    words = []
    for quoted, word in _WORDS.findall(query.replace("“", '"').replace("”", '"')):
        words.append(fold(quoted or word))
    return tuple(dict.fromkeys(word for word in words if word))


def passages(text: str, words: Sequence[str]) -> list[Passage]:
    """Split a text into pieces that match one of the folded words and pieces that do not."""
    if not words:
        return [Passage(text, is_match=False)] if text else []
    pieces = []
    end = 0
    for start, stop in _matches(text[:_MOST_FOLDED], words):
        if start > end:
            pieces.append(Passage(text[end:start], is_match=False))
        pieces.append(Passage(text[start:stop], is_match=True))
        end = stop
    if end < len(text):
        pieces.append(Passage(text[end:], is_match=False))
    return pieces


def excerpt(text: str, words: Sequence[str], width: int) -> list[Passage]:
    """Return about `width` characters around the first match, on one line.

    Without a match it is the beginning.
    """
    line = " ".join(text.split())
    # A third of the room is for what leads up to the match.
    start = _first_match(line, words) - width // 3
    start = max(0, min(start, len(line) - width))
    cut = line[start : start + width]
    pieces = passages(cut, words)
    if start:
        pieces.insert(0, Passage("…", is_match=False))
    if start + width < len(line):
        pieces.append(Passage("…", is_match=False))
    return pieces


def _normalised(text: pl.Expr) -> pl.Expr:
    lower = text.str.normalize("NFKD").str.to_lowercase()
    return lower.str.replace_all(_DROPPED, "").str.normalize("NFKC")


def _first_match(line: str, words: Sequence[str]) -> int:
    """Return where the first match begins, 0 without one."""
    lower = line.lower()
    # Of a few letters the small one is longer, and then places differ.
    if len(lower) == len(line):
        places = [place for word in words if (place := lower.find(word)) >= 0]
        if places:
            return min(places)
    first = next(_matches(line[:_MOST_FOLDED], words), (0, 0))
    return first[0]


def _matches(text: str, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of matches in order, as start and end in the text itself."""
    if not words:
        return
    letters = ""
    places = []
    for letter, place in _folded_letters(text):
        letters += letter
        places.extend([place] * len(letter))
    # The longest first, so that a phrase is marked whole.
    longest_first = sorted(words, key=len, reverse=True)
    for match in re.finditer("|".join(map(re.escape, longest_first)), letters):
        yield places[match.start()][0], places[match.end() - 1][1]


def _folded_letters(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each letter with its marks folded, and its place in the text."""
    is_after_space = False
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and _joins_its_predecessor(text[end]):
            end += 1
        letter = _fold_letter(text[start:end])
        if letter == " " and is_after_space:
            letter = ""
        elif letter:
            is_after_space = letter.endswith(" ")
        yield letter, (start, end)
        start = end


def _fold_letter(letter: str) -> str:
    # Most letters, and all that follows would take ten times as long.
    if letter.isascii():
        return " " if letter <= " " else letter.lower()
    if re.search(_NOT_PLAIN, letter):
        lower = unicodedata.normalize("NFKD", letter).lower()
        letter = unicodedata.normalize("NFKC", re.sub(_DROPPED, "", lower))
    else:
        letter = letter.lower()
    for sign, replacement in _REPLACED.items():
        letter = letter.replace(sign, replacement)
    return re.sub(_SPACES, " ", letter)


def _joins_its_predecessor(character: str) -> bool:
    if character.isascii():
        return False
    # Marks, also those of half width, and the vowels and finals of Korean syllables in parts.
    first = unicodedata.normalize("NFKD", character)[0]
    return bool(unicodedata.combining(first)) or "\u1160" <= character <= "\u11ff"
