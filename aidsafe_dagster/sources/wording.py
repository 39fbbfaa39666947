"""Normalise the words of a text, to see through disguises.

Case, punctuation, accents, width, invisible characters, apostrophes, and letters of other alphabets
that look like Latin ones do not count. Scripts without spaces between words (Chinese, Japanese) are
split into characters, and so are Thai, Lao, Khmer and Burmese.
"""

import re
import unicodedata

from aidsafe_dagster.recipe.unspaced import UNSPACED
from aidsafe_dagster.sources.similarity import Words

# Unicode's categories of combining marks and format characters.
_INVISIBLE = ("Mn", "Me", "Cf")
_APOSTROPHES = str.maketrans("", "", "'’‘ʼ`´")
# Cyrillic and Greek letters that a reader does not notice, but a comparison would.
_LOOKALIKES = str.maketrans("асеорхуіјѕһԁӏктмнвονραι", "aceopxyijshdlktmhbovpai")
_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")


def normalised_words(text: str) -> Words:
    # Decomposed, accents are characters of their own and can be dropped.
    decomposed = unicodedata.normalize("NFKD", text)
    visible = [
        char for char in decomposed if unicodedata.category(char) not in _INVISIBLE
    ]
    composed = unicodedata.normalize("NFC", "".join(visible))
    # Case first: the table of lookalikes has small letters only.
    plain = composed.casefold().translate(_APOSTROPHES).translate(_LOOKALIKES)
    return tuple(_WORD.findall(plain))
