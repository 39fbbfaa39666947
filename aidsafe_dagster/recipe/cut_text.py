"""Text that breaks off in mid-sentence, wherever its bound is: the model stopped too early.

Good text often ends without a full stop: lists, headings, signatures, poems, code. So a missing
stop counts only behind prose that has stops, and behind words that end no sentence.
"""

import re

from aidsafe_dagster.recipe.unspaced import split_words

_CODE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
# Words that no sentence ends with, in any of the languages that have them. "Ruf mich an" is whole.
# In small letters: "AND" may be an operator.
_OPEN_WORDS = (
    r"the|and|but|because|your|their|its|than|although|whereas|unless|including"
    r"|und|oder|weil|dass|sowie|sondern|et|parce que|porque|perché|oppure"
    r"|и|или|потому что|чтобы|و|أو|لأن|या|क्योंकि"
)
_OPEN_END = re.compile(rf"(?<!\w)(?:{_OPEN_WORDS})$|(?:因为|以及|而且|但是|因此|所以)$")
_LEAST_CHARS = 10
# "Yours sincerely," and lines of verse.
_CLOSING_LINE_WORDS = 4
_OPEN_COMMA = re.compile(r"[,،，、;；]$")
_OPEN_BRACKET = re.compile(r"\s[(\[{]$")
_BARE_NUMBER = re.compile(r"\n[ \t]*(?:\d{1,3}[.)]|[-*•])$")
_LIST_ITEM = re.compile(r"\s*(?:[-*•|>#]|\d{1,3}[.):-])\s?")
# A line of prose with a stop inside, and a tail of several words behind the last one.
_STOP = re.compile(r"[.!?。！？।]['\")*_”»]{0,3}(?:\s+|(?<=[。！？]))")
_LEAST_PROSE_CHARS = 100
_LEAST_TAIL_WORDS = 6


def breaks_off(text: str) -> str | None:
    """Describe where a text breaks off; None if it may be whole."""
    stripped = text.rstrip()
    # Code ends as it likes, in a block that is not closed as well.
    if len(stripped) < _LEAST_CHARS or _CODE.search(stripped):
        return None
    last_line = stripped.rsplit("\n", 1)[-1]
    if _is_open(stripped, last_line) or _lacks_stop(last_line):
        return f"it breaks off in mid-sentence: '…{stripped[-40:]}'"
    return None


def _is_open(stripped: str, last_line: str) -> bool:
    if _OPEN_END.search(stripped) or _OPEN_BRACKET.search(stripped):
        return True
    if _BARE_NUMBER.search(stripped):
        return True
    is_single = "\n" not in stripped
    words = len(split_words(last_line))
    return bool(_OPEN_COMMA.search(stripped)) and (
        is_single and words > _CLOSING_LINE_WORDS
    )


def _lacks_stop(line: str) -> bool:
    """Tell whether a line of prose has sentences, and the last of them has no end."""
    if len(line) < _LEAST_PROSE_CHARS or _LIST_ITEM.match(line):
        return False
    if not (line[-1].isalpha() or line[-1] in ",，"):
        return False
    stops = list(_STOP.finditer(line))
    if not stops:
        return False
    tail = line[stops[-1].end() :]
    # An address or a formula needs no stop.
    is_plain = not re.search(r"[=/\\@<>|]|\d$", tail)
    return is_plain and len(split_words(tail)) >= _LEAST_TAIL_WORDS
