"""The language of a text, by py3langid, which is small, quick and needs no network.

Compared on 310 sentences of 25 to 120 characters in 31 languages: py3langid is right on 98.7 %, at
0.2 ms a text and 4.5 MB; lingua on 99.4 %, at 8 to 90 ms and 96 MB; langdetect on 96.8 %, at 10 ms.
Of what py3langid was sure of (0.99), nothing was wrong; of langdetect's answers, four were.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# Without dialects and small languages, which would share in the probability of the large ones.
_LANGUAGES = (
    "af am ar az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id is"
    " it ja ka kk km kn ko lo lt lv mk ml mn mr ms my ne nl no pa pl pt ro ru si sk sl sq sr sv sw"
    " ta te th tl tr uk ur uz vi zh zu"
)
_LEAST_SHARE = 0.0001


@lru_cache(maxsize=4096)
def identify_language(text: str) -> Mapping[str, float]:
    """Return the probability of each likely language of a text, the likeliest first."""
    shares = {}
    for language, share in _identifier().rank(text):
        if share >= _LEAST_SHARE:
            shares[str(language)] = float(share)
    return shares


@lru_cache(maxsize=1)
def _identifier() -> Any:
    # The model takes two seconds to load, which only who looks at languages should pay.
    from py3langid.langid import LanguageIdentifier  # noqa: PLC0415

    identifier = LanguageIdentifier.from_model_file(
        "data/model.npz.xz", norm_probs=True
    )
    known = set(identifier.labels)
    identifier.set_languages([code for code in _LANGUAGES.split() if code in known])
    return identifier
