"""Texts that another text holds in code: base64, hexadecimal, ROT13, backwards, in parts.

A prompt that spells an evaluation prompt out in base64 shares no word with it. This finds the usual
codes of jailbreaks, and no cipher: what has a key stays hidden.
"""

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator

from aidsafe_dagster.sources.common_words import common_words
from aidsafe_dagster.sources.wording import normalised_words

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX = re.compile(r"(?:(?:\\x|0x|%)?[0-9A-Fa-f]{2}[\s,:;]*){8,}")
_HEX_DIGITS = re.compile(r"(?:\\x|0x|%)?([0-9A-Fa-f]{2})")
_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|'([^'\n]{4,})'|`([^`\n]+)`")
_SPACE = re.compile(r"\s")
_LEAST_COMMON = 2
_MOST_PARTS = 50


def decoded_texts(text: str) -> list[str]:
    """Return what a text holds in code, each once; mostly nothing."""
    found = [*_base64(text), *_hex(text)]
    for decode in (_rot13, _backwards):
        found += _lines_in_code(text, decode)
    found += _joined_parts(text)
    return [one for one in dict.fromkeys(found) if one != text]


def _base64(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        blob = _SPACE.sub("", match[0]).rstrip("=")
        standard = blob.replace("-", "+").replace("_", "/")
        padded = standard + "=" * (-len(standard) % 4)
        try:
            yield from _as_text(base64.b64decode(padded, validate=True))
        except binascii.Error:
            continue


def _hex(text: str) -> Iterator[str]:
    for match in _HEX.finditer(text):
        yield from _as_text(bytes.fromhex("".join(_HEX_DIGITS.findall(match[0]))))


def _as_text(content: bytes) -> Iterator[str]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    if all(sign.isprintable() or sign.isspace() for sign in text):
        yield text


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def _backwards(text: str) -> str:
    return text[::-1]


def _lines_in_code(text: str, decode: Callable[[str], str]) -> Iterator[str]:
    """Yield the lines that only read as a language once they are decoded, and all of them."""
    lines = []
    for line in text.splitlines():
        decoded = decode(line)
        if _count_common(decoded) >= max(_LEAST_COMMON, 2 * _count_common(line)):
            lines.append(decoded)
    if lines:
        yield " ".join(lines)
    if len(lines) > 1:
        # Backwards, the last line comes first.
        yield " ".join(reversed(lines))


def _count_common(text: str) -> int:
    words = normalised_words(text)
    return len(set(words) & common_words(words))


def _joined_parts(text: str) -> Iterator[str]:
    """Yield what quoted parts make together: first = "How do I", second = "…"."""
    parts = []
    for groups in _QUOTED.findall(text):
        parts.append("".join(groups))
    if 1 < len(parts) <= _MOST_PARTS:
        yield "".join(parts)
        yield " ".join(parts)
