"""The words of a text, with everything taken away that lets the same words look different.

Case, punctuation, accents, width, invisible signs, apostrophes, and letters of another alphabet that look like Latin
ones. What has no spaces between its words (Chinese, Japanese) is taken sign by sign.
"""

import re
import unicodedata

from aidsafe_dagster.sources.similarity import Words

_INVISIBLE = ("Mn", "Me", "Cf")  # combining marks and formatting signs
_APOSTROPHES = str.maketrans("", "", "'’‘ʼ`´")
_LOOKALIKES = str.maketrans("асеорхуіјѕһԁӏктмнвονραι", "aceopxyijshdlktmhbovpai")
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words(text: str) -> Words:
    decomposed = unicodedata.normalize("NFKD", text)
    visible = "".join(sign for sign in decomposed if unicodedata.category(sign) not in _INVISIBLE)
    plain = (
        unicodedata.normalize("NFC", visible)
        .casefold()
        .translate(_APOSTROPHES)
        .translate(_LOOKALIKES)
    )
    return tuple(_WORD.findall(plain))
