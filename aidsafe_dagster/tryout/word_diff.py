"""Two texts word by word: what is the same, what was removed, what was added."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_WORD = re.compile(
    # Scripts without spaces between words are compared sign by sign.
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]\s*"
    r"|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+\s*"
    r"|\s+"
)
_MOST_WORDS = 4000
"""Of both texts together, beyond which the whole texts are shown one after the other."""


@dataclass(frozen=True)
class Piece:
    """Words in a row of one kind, with the white space behind them."""

    kind: Literal["same", "removed", "added"]
    text: str


def diff_words(before: str, after: str) -> list[Piece]:
    """Return the pieces that lead from one text to the other, in reading order."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if len(old) + len(new) > _MOST_WORDS:
        return [Piece("removed", before), Piece("added", after)]
    # Another line break behind a word is no other word.
    old_words = [word.strip() for word in old]
    new_words = [word.strip() for word in new]
    matcher = SequenceMatcher(None, old_words, new_words, autojunk=False)
    pieces: list[Piece] = []
    for _, old_from, old_to, new_from, new_to in _merged(matcher.get_opcodes()):
        removed = "".join(old[old_from:old_to])
        added = "".join(new[new_from:new_to])
        if old_words[old_from:old_to] == new_words[new_from:new_to]:
            pieces.append(Piece("same", added))
            continue
        if removed:
            pieces.append(Piece("removed", removed))
        if added:
            pieces.append(Piece("added", added))
    return pieces


_Opcode = tuple[str, int, int, int, int]


def _merged(opcodes: Sequence[_Opcode]) -> Iterator[_Opcode]:
    """Join changes that only a word or two stand between: single words are hard to read."""
    merged: list[_Opcode] = []
    for index, opcode in enumerate(opcodes):
        tag, _, old_to, _, new_to = opcode
        is_between = 0 < index < len(opcodes) - 1
        is_short = tag == "equal" and old_to - opcode[1] <= 2 and is_between
        if merged and merged[-1][0] == "replace" and (tag != "equal" or is_short):
            _, old_from, _, new_from, _ = merged[-1]
            merged[-1] = ("replace", old_from, old_to, new_from, new_to)
        elif tag == "equal":
            merged.append(opcode)
        else:
            merged.append(("replace", *opcode[1:]))
    yield from merged
