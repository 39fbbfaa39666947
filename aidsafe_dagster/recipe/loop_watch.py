"""Watches an answer while it is written, for a loop that nothing can follow any more.

Of an answer in JSON, the string that is being written is watched: `recipe.bad_answers` holds the
same texts against the same predicate when the answer is whole. What is around the strings repeats
in every good answer.
"""

import json
import re
from collections import Counter

from aidsafe_dagster.recipe.loops import unending_loop

_BEGINNING_OF_JSON = re.compile(r"\{\s*\"")
_QUOTE = re.compile(r"\\.|(\")", re.DOTALL)
_PUNCTUATION = re.compile(r"[\s:,{}\[\]]*")
_UNFINISHED_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{0,3})?$")
# So many characters are written between two looks, or a quarter of the text if that is more, which
# keeps the time in proportion to the length of the text.
_STEP = 400
_GROWTH = 1.25
_LONGEST_WHITE_SPACE = 400
# Items that are repeated whole. Reasons are short, and may well be alike.
_LONG_CHARS = 100
_LONG_THOUGHT_CHARS = 20
_MOST_TIMES = 6
_MOST_SHARE = 0.5
_QUOTED_CHARS = 60


class LoopWatch:
    """Takes the pieces of an answer in the order in which they come.

    Args:
        is_json: the answer is to be JSON. What comes before the first object is prose.
        patience: see `unending_loop`.
    """

    def __init__(self, *, is_json: bool, patience: int = 1) -> None:
        self._may_be_json = is_json
        self._is_in_json = False
        self._patience = patience
        self._open = ""
        """What is watched: the end of the answer, from the last quote in JSON."""
        self._due = _STEP
        self._items: Counter[str] = Counter()
        """How often each long string, or thought, was written."""
        self._last_string = ""

    def feed(self, piece: str) -> str | None:
        """Describe the loop that an answer is in with its next piece; None if it is in none."""
        self._open += piece
        if len(self._open) < self._due:
            return None
        return self.look()

    def look(self) -> str | None:
        """The same for what has been fed so far."""
        if self._may_be_json:
            self._drop_what_is_closed()
        self._due = max(len(self._open) + _STEP, int(len(self._open) * _GROWTH))
        return self._repeated_item() or self._open_loop()

    def _drop_what_is_closed(self) -> None:
        if not self._is_in_json:
            beginning = _BEGINNING_OF_JSON.search(self._open)
            if beginning is None:
                return
            self._is_in_json = True
            self._open = self._open[beginning.start() :]
        start = 0
        for match in _QUOTE.finditer(self._open):
            if match[1]:
                self._note_string(self._open[start : match.start()])
                start = match.end()
        self._open = self._open[start:]

    def _note_string(self, text: str) -> None:
        """Note what stands between two quotes: a string, or the punctuation between strings."""
        is_thought = self._last_string == "thought"
        if len(text) >= (_LONG_THOUGHT_CHARS if is_thought else _LONG_CHARS):
            self._items[text] += 1
        if not _PUNCTUATION.fullmatch(text):
            self._last_string = text

    def _repeated_item(self) -> str | None:
        for text, times in self._items.most_common(1):
            if times >= _MOST_TIMES and times > _MOST_SHARE * self._items.total():
                return f"repeats '{text[:_QUOTED_CHARS]}' {times} times"
        return None

    def _open_loop(self) -> str | None:
        space = len(self._open) - len(self._open.rstrip())
        if space >= _LONGEST_WHITE_SPACE:
            return f"ends in {space} characters of white space"
        text = _unescaped(self._open) if self._is_in_json else self._open
        return unending_loop(text, self._patience)


def _unescaped(text: str) -> str:
    """Return the text of a JSON string that is not finished."""
    if "\\" not in text:
        return text
    finished = _UNFINISHED_ESCAPE.sub("", text)
    try:
        return str(json.loads(f'"{finished}"', strict=False))
    except ValueError:
        return text
