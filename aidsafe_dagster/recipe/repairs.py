"""Answers that were read leniently: what a row's column `repaired` says, counted by kind."""

import re
from collections import Counter
from collections.abc import Iterable


def count_repairs(notes: Iterable[str]) -> Counter[str]:
    """Count what was mended in answers: each note is '<speaker> <turn>: <kind>, <kind> …'."""
    kinds: Counter[str] = Counter()
    for note in notes:
        mended = note.partition(": ")[2] or note
        # An answer counts once per kind, however often that kind occurs in it.
        distinct = dict.fromkeys(re.split(r"[,;] ", mended))
        kinds.update(list(distinct))
    return kinds
