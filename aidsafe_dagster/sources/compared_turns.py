"""Which texts of a conversation are compared with other prompts.

A conversation is compared as a whole, and in each turn of the user that is not just anybody's:
"And why?" A prompt of one text is that text.
"""

from collections.abc import Sequence

from aidsafe_dagster.recipe.records import Message, as_text
from aidsafe_dagster.recipe.unspaced import is_mostly_unspaced
from aidsafe_dagster.sources.overlap import distinctive_words
from aidsafe_dagster.sources.wording import normalised_words

_LEAST_WORDS = 4
_LEAST_SIGNS = 8
"""Of a script without spaces, in which each sign counts as a word."""
_LEAST_DISTINCTIVE = 2


def compared_texts(turns: Sequence[Message]) -> list[str]:
    """Return the whole, then the user's telling turns; of a single turn, the whole alone."""
    whole = as_text(turns)
    return [whole] if len(turns) == 1 else [whole, *telling_turns(turns)]


def telling_turns(turns: Sequence[Message]) -> list[str]:
    """Return the turns of the user that say what somebody wants."""
    return [
        turn.content
        for turn in turns
        if turn.role == "user" and _is_telling(turn.content)
    ]


def _is_telling(text: str) -> bool:
    words = normalised_words(text)
    least = _LEAST_SIGNS if is_mostly_unspaced(words) else _LEAST_WORDS
    is_long = len(words) >= least
    return is_long and len(set(distinctive_words(words))) >= _LEAST_DISTINCTIVE
