"""Loops: text that says the same again and again, in words or, without spaces, in characters.

A model that loops repeats a run of words back to back, or fills most of a text with runs that it
wrote before. Good text repeats as well: refrains, laughter, lists, tables, digits. So a loop has to
be long, or most of the text. All functions take time linear in the length of the text.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from aidsafe_dagster.recipe.unspaced import UNSPACED

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_UNSPACED_TOKEN = re.compile(rf"[{UNSPACED}]")
# The same few characters without a space between them: "ahahahah", "!!!!!!!!".
_RUN = re.compile(r"(\S{1,10}?)\1{19,}")
# Rules of tables and long numbers are runs too.
_LONGEST_LETTER_RUN = 60
_LONGEST_OTHER_RUN = 400
_QUOTED_TOKENS = 12


class _Bounds(NamedTuple):
    """When repetition is a loop, in tokens of a script."""

    whole: int
    """Least length of a text that is nothing but one run repeated, if only twice."""
    most: int
    """Least length of a run repeated three times that is half of the text."""
    part: int
    """Least length of a run repeated five times, anywhere in a text."""
    single: int
    """The same for a single token: "ha ha ha"."""
    gram: int
    """Length of the runs of which a text may not repeat half."""
    text: int
    """Least length of a text for that."""
    echo: int
    """Length of the runs that tell one text's wording in another."""


_WORDS = _Bounds(whole=12, most=8, part=20, single=30, gram=8, text=40, echo=6)
_CHARACTERS = _Bounds(whole=20, most=14, part=36, single=40, gram=14, text=70, echo=14)
_MOST_REPEATED_GRAMS = 0.45
# A text that is not finished may still come to say something else, so its bounds are higher.
_LEAST_REPETITIONS = 5
_MOST_UNFINISHED_REPEATED = 0.8
_UNFINISHED_TEXTS = 8
# A loop that counts repeats a sentence of so many tokens, with its number.
_LEAST_COUNTED = 5
_SENTENCE_END = re.compile(r"(?<!\d)[.!?。！？।؟]")
# Texts with so many of their runs of three tokens in common say the same.
_NEAR = 0.8


class _Stretch(NamedTuple):
    """A run of `period` tokens that is repeated back to back."""

    start: int
    length: int
    period: int

    @property
    def repetitions(self) -> float:
        return self.length / self.period


def tokens(text: str) -> list[str]:
    """Return the words of a text in lower case; characters where words have no spaces."""
    return _TOKEN.findall(text.casefold())


def grams(text: str) -> list[tuple[str, ...]]:
    """Return the runs of six words, or 14 characters without spaces, at each place of a text."""
    words = tokens(text)
    length = _bounds_for(words).echo
    starts = range(len(words) - length + 1)
    return [tuple(words[start : start + length]) for start in starts]


def loop(text: str, prompt: str) -> str | None:
    """Describe the loop of a text; None if it has none, or if the user's prompt loops as well.

    Whoever answers such a prompt has to quote it.
    """
    reason = _loop(text) or _counted_loop(text)
    if reason is None or _loop(prompt) or _counted_loop(prompt):
        return None
    return reason


def unending_loop(text: str, patience: int = 1) -> str | None:
    """Describe the loop of a text that is still being written; None if it may yet end well.

    What is a loop here is one in the finished text too, whatever follows: it repeats a run of words
    or characters so often that the rest no longer counts. So a text that is ended here is one that
    `loop` would find in the end.

    Args:
        text: the beginning of a text.
        patience: how many times as long, and as often repeated, a loop has to be.
    """
    run = _run_of_characters(text, patience)
    if run is not None:
        return run
    words = tokens(text)
    bounds = _bounds_for(words)
    grams = list(zip(words, words[1:], words[2:], strict=False))
    stretch = _longest_stretch(grams) if len(set(grams)) < len(grams) else None
    if stretch is not None and _is_anywhere(stretch, words, bounds, patience):
        return _describe(stretch, words)
    if len(words) < _UNFINISHED_TEXTS * patience * bounds.text:
        return None
    return _mostly_repeated(words, bounds, _MOST_UNFINISHED_REPEATED)


def _loop(text: str) -> str | None:
    run = _run_of_characters(text)
    if run is not None:
        return run
    words = tokens(text)
    bounds = _bounds_for(words)
    grams = list(zip(words, words[1:], words[2:], strict=False))
    # Nearly every text ends here. A loop repeats at least this many runs of three tokens.
    if len(grams) - len(set(grams)) < min(bounds.most - 5, bounds.whole // 2 - 2):
        return None
    stretch = _longest_stretch(grams)
    if stretch is not None and _is_loop(stretch, words, bounds):
        return _describe(stretch, words)
    return _mostly_repeated(words, bounds, _MOST_REPEATED_GRAMS)


def _counted_loop(text: str) -> str | None:
    """Describe a sentence that is said again and again with a number that counts."""
    words = tokens(text)
    numbers = [word for word in words if word.isdigit()]
    # In a plan of three weeks, or a table, other numbers stand as well.
    if len(numbers) < _LEAST_REPETITIONS or not _count_up(numbers):
        return None
    # A form to fill in has lines, and no sentences.
    if len(_SENTENCE_END.findall(text)) < len(numbers):
        return None
    uncounted = ["#" if word.isdigit() else word for word in words]
    grams = list(zip(uncounted, uncounted[1:], uncounted[2:], strict=False))
    stretch = _longest_stretch(grams)
    if stretch is None or stretch.period < _LEAST_COUNTED:
        return None
    is_most = stretch.length >= _MOST_REPEATED_GRAMS * len(words)
    if not is_most or stretch.repetitions < _LEAST_REPETITIONS:
        return None
    return _describe(stretch, uncounted)


def _count_up(numbers: Sequence[str]) -> bool:
    values = [int(number[:9]) for number in numbers]
    return values == list(range(values[0], values[0] + len(values)))


def _describe(stretch: _Stretch, words: Sequence[str]) -> str:
    unit = words[stretch.start : stretch.start + stretch.period]
    times = int(stretch.repetitions)
    return f"repeats {_quote(unit)} {times} times in a row"


def repeated_texts(texts: Sequence[str]) -> list[int]:
    """Return the indexes of texts that say what an earlier one says, in nearly the same words."""
    earlier: list[frozenset[tuple[str, ...]]] = []
    repeated = []
    for index, text in enumerate(texts):
        shingles = _shingles(text)
        if any(_is_near(shingles, other) for other in earlier):
            repeated.append(index)
        else:
            earlier.append(shingles)
    return repeated


def _run_of_characters(text: str, patience: int = 1) -> str | None:
    for match in _RUN.finditer(text):
        unit = match[1]
        has_letter = any(character.isalpha() for character in unit)
        longest = _LONGEST_LETTER_RUN if has_letter else _LONGEST_OTHER_RUN
        if len(match[0]) >= patience * longest:
            times = len(match[0]) // len(unit)
            return f"repeats '{unit}' {times} times in a row"
    return None


def _bounds_for(words: Sequence[str]) -> _Bounds:
    unspaced = sum(1 for word in words if _UNSPACED_TOKEN.match(word))
    return _CHARACTERS if 2 * unspaced > len(words) else _WORDS


def _longest_stretch(grams: Sequence[tuple[str, ...]]) -> _Stretch | None:
    """Return the longest stretch of tokens that repeats with one period.

    There, every run of three tokens was last seen one period before.
    """
    last_seen: dict[tuple[str, ...], int] = {}
    longest: _Stretch | None = None
    period = length = 0
    for place, gram in enumerate(grams):
        distance = place - last_seen.get(gram, place)
        last_seen[gram] = place
        length = length + 1 if distance == period else 1
        period = distance
        if not period:
            continue
        # The runs of three that repeat reach two tokens further, and began a period earlier.
        span = length + 2 + period
        if longest is None or span > longest.length:
            longest = _Stretch(place + 3 - span, span, period)
    return longest


def _is_loop(stretch: _Stretch, words: Sequence[str], bounds: _Bounds) -> bool:
    share = stretch.length / len(words)
    if share >= 0.9 and stretch.repetitions >= 2 and stretch.length >= bounds.whole:
        return True
    if share >= 0.5 and stretch.repetitions >= 3 and stretch.length >= bounds.most:
        return True
    return _is_anywhere(stretch, words, bounds)


def _is_anywhere(
    stretch: _Stretch, words: Sequence[str], bounds: _Bounds, patience: int = 1
) -> bool:
    """Tell whether a stretch is a loop however long the text around it is."""
    unit = words[stretch.start : stretch.start + stretch.period]
    # Rows of a table or a matrix of numbers may well be alike.
    if not any(character.isalpha() for word in unit for character in word):
        return False
    shortest = bounds.single if stretch.period == 1 else bounds.part
    if stretch.repetitions < patience * _LEAST_REPETITIONS:
        return False
    return stretch.length >= patience * shortest


def _mostly_repeated(words: Sequence[str], bounds: _Bounds, most: float) -> str | None:
    if len(words) < bounds.text:
        return None
    seen: set[tuple[str, ...]] = set()
    repeated = []
    starts = range(len(words) - bounds.gram + 1)
    for start in starts:
        gram = tuple(words[start : start + bounds.gram])
        if gram in seen:
            repeated.append(gram)
        seen.add(gram)
    share = len(repeated) / len(starts)
    if share < most:
        return None
    return f"says most of its words again, such as {_quote(repeated[0])}"


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = tokens(text)
    if len(words) < 3:
        # A text of punctuation alone is compared as it stands.
        return frozenset({tuple(words) or (text.strip(),)})
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _is_near(
    shingles: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]
) -> bool:
    common = len(shingles & other)
    return common >= _NEAR * len(shingles | other)


def _quote(words: Sequence[str]) -> str:
    glue = "" if all(_UNSPACED_TOKEN.match(word) for word in words) else " "
    quoted = glue.join(words[:_QUOTED_TOKENS])
    return f"'{quoted}'"
