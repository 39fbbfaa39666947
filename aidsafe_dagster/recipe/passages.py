"""Passages: whether a quotation is really in a document, and where.

Models change quotation marks, line breaks and hyphens when they quote, leave out Markdown, and put
an ellipsis where they skip something. None of that makes a quotation false. Another word does.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

_SIGNS = {
    **dict.fromkeys(map(ord, "‘’‚‛ʼ′`"), "'"),
    **dict.fromkeys(map(ord, "“”„‟«»″"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—―−"), "-"),
}
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])-[ \t]*\n\s*(?=[^\W\d_])")
_MARKDOWN = re.compile(r"^[ \t]*(?:#{1,6}|>+|[-*+•·▪])[ \t]+|[*_~`|\\]+", re.MULTILINE)
_LINK = re.compile(r"\[([^\]\n]*)\]\([^)\s]*\)")
_ELLIPSIS = re.compile(r"\s*(?:\[\s*)?(?:\.{3,}|…)(?:\s*\])?\s*")
_LEAST_CHARS = 8
_LEAST_PART = 4
_EDGES = " \"'.,;:()[]-"


@dataclass(frozen=True)
class Block:
    """A paragraph, a list item, a heading or a page."""

    text: str
    place: str
    """'line 12', 'page 3'."""
    is_heading: bool = False


class Passages:
    """The text of blocks, to look quotations up in."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = tuple(blocks)
        self._starts: list[int] = []
        folded = []
        length = 0
        for block in self._blocks:
            text = fold(block.text)
            self._starts.append(length)
            folded.append(text)
            length += len(text) + 1
        self._text = " ".join(folded)

    def place(self, quotation: str) -> str | None:
        """Return where a quotation begins; None if it is not in the text, or is no quotation."""
        parts = [fold(part).strip(_EDGES) for part in _ELLIPSIS.split(quotation)]
        parts = [part for part in parts if part]
        if not parts or sum(map(len, parts)) < self._least(parts):
            return None
        first = -1
        position = 0
        for part in parts:
            start = self._text.find(part, position)
            if start < 0 or (len(parts) > 1 and len(part) < _LEAST_PART):
                return None
            first = start if first < 0 else first
            position = start + len(part)
        return self._blocks[bisect_right(self._starts, first) - 1].place

    def _least(self, parts: Sequence[str]) -> int:
        # Four characters of Chinese say as much as a dozen letters.
        is_dense = any(character > "\u2e7f" for character in parts[0])
        return _LEAST_PART if is_dense else _LEAST_CHARS


def fold(text: str) -> str:
    """Return a text without what quoting changes: line breaks, signs, Markdown, case."""
    text = _HYPHENATED.sub("", text)
    text = _MARKDOWN.sub("", _LINK.sub(r"\1", text))
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    return " ".join(text.translate(_SIGNS).casefold().split())
