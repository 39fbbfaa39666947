"""The name of a source, made from that of its file or dataset.

It stands in batch keys, paths and commands, so it has small letters of ASCII, digits and
underscores. A name with letters of another script keeps what it has of these, and gets a hash of
the whole, so that no two files share it.
"""

import hashlib
import re
import unicodedata
from pathlib import Path

LONGEST = 40
"""The settings allow no longer one."""
_HASH_DIGITS = 6
_NAMELESS = "file"


def name_of_file(file: Path) -> str:
    # `Path.stem` would leave one suffix of .jsonl.gz.
    name, _, _ = file.name.partition(".")
    return _name_from(name)


def name_of_dataset(dataset: str) -> str:
    # Without the owner, which says little and makes batch keys long.
    return _name_from(dataset.rpartition("/")[2])


def is_whole(text: str) -> bool:
    """Return whether a name keeps all letters of the text, and has one."""
    plain = _without_accents(text)
    kept = [char.isascii() for char in plain if char.isalnum()]
    return bool(kept) and all(kept)


def _without_accents(text: str) -> str:
    # `é` is `e` and a mark. One system writes it so, the other as one letter.
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in letters if not unicodedata.combining(char))


def _name_from(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", _without_accents(text)).strip("_")
    if is_whole(text):
        return name[:LONGEST].strip("_")
    letters = unicodedata.normalize("NFKD", text).encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(letters).hexdigest()
    suffix = f"_{digest[:_HASH_DIGITS]}"
    return (name or _NAMELESS)[: LONGEST - len(suffix)].strip("_") + suffix
