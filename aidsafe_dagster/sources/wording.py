"""Normalise the words of a text, to see through disguises.

Case, punctuation, accents, width, invisible characters, apostrophes, and letters of other alphabets
that look like Latin ones do not count. Scripts without spaces between words (Chinese, Japanese) are
split into characters.
"""

import re
import unicodedata

from aidsafe_dagster.sources.similarity import Words

# Unicode's categories of combining marks and format characters.
_INVISIBLE = ("Mn", "Me", "Cf")
_APOSTROPHES = str.maketrans("", "", "'’‘ʼ`´")
# Cyrillic and Greek letters that a reader does not notice, but a comparison would.
_LOOKALIKES = str.maketrans("асеорхуіјѕһԁӏктмнвονραι", "aceopxyijshdlktmhbovpai")
# Kana, and the ideographs that Chinese and Japanese share.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_SIGN = re.compile(rf"[{_UNSPACED}]")
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def is_unspaced(word: str) -> bool:
    """Tell whether a normalised word is a sign of a script without spaces."""
    return len(word) == 1 and _SIGN.match(word) is not None


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
