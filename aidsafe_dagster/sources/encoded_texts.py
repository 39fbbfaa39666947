"""Texts that another text holds in code: base64, hexadecimal, escapes, ROT13, backwards, in parts.

A prompt that spells an evaluation prompt out in base64 shares no word with it. This finds the usual
codes of jailbreaks, and no cipher: what has a key stays hidden.
"""

import base64
import binascii
import codecs
import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote_plus

from aidsafe_dagster.recipe.unspaced import is_mostly_unspaced
from aidsafe_dagster.sources.common_words import common_words
from aidsafe_dagster.sources.wording import normalised_words

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_BASE32 = re.compile(r"[A-Z2-7]{24,}={0,6}")
_HEX = re.compile(r"(?:(?:\\x|0x|%)?[0-9A-Fa-f]{2}[\s,:;]*){8,}")
_HEX_DIGITS = re.compile(r"(?:\\x|0x|%)?([0-9A-Fa-f]{2})")
_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|'([^'\n]{4,})'|`([^`\n]+)`")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})")
_ENTITY = re.compile(r"&#(?:\d+|x[0-9A-Fa-f]+);")
_SPELT = re.compile(r"[^\n]([ ._*|/·-])(?:[^\n]\1){10,}[^\n]")
"""Signs with the same mark after each of them."""
_LEAST_COMMON = 2
_MOST_PARTS = 50
_LEAST_ESCAPES = 2
_LEAST_SPELT = 6


def decoded_texts(text: str) -> list[str]:
    """Return what a text holds in code, each once; mostly nothing."""
    found = [*_in_blobs(text), *_escaped(text), *_spelt(text)]
    # In base64 twice, or backwards in base64: once more is enough for what people paste.
    for one in tuple(found):
        found += [*_in_blobs(one), *_escaped(one), *_in_lines(one)]
    found += [*_in_lines(text), *_joined_parts(text)]
    return [one for one in dict.fromkeys(found) if one != text]


def _in_blobs(text: str) -> Iterator[str]:
    yield from _base64(text)
    yield from _base32(text)
    yield from _hex(text)


def _in_lines(text: str) -> Iterator[str]:
    for decode in (_rot13, _backwards):
        yield from _lines_in_code(text, decode)


def _base64(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        lines = match[0].split()
        # A word above or below may be taken for a line of it.
        for some in (lines, lines[:-1], lines[1:], *((line,) for line in lines)):
            yield from _from_base64("".join(some))


def _from_base64(blob: str) -> Iterator[str]:
    standard = blob.rstrip("=").replace("-", "+").replace("_", "/")
    padded = standard + "=" * (-len(standard) % 4)
    try:
        content = base64.b64decode(padded, validate=True)
    except binascii.Error:
        return
    yield from _as_text(content)


def _base32(text: str) -> Iterator[str]:
    for match in _BASE32.finditer(text):
        blob = match[0].rstrip("=")
        try:
            yield from _as_text(base64.b32decode(blob + "=" * (-len(blob) % 8)))
        except binascii.Error:
            continue


def _hex(text: str) -> Iterator[str]:
    for match in _HEX.finditer(text):
        yield from _as_text(bytes.fromhex("".join(_HEX_DIGITS.findall(match[0]))))


def _escaped(text: str) -> Iterator[str]:
    """Yield the text with the escapes of URLs, of programs and of HTML replaced."""
    if len(_PERCENT.findall(text)) >= _LEAST_ESCAPES:
        yield unquote_plus(text)
    if len(_ESCAPE.findall(text)) >= _LEAST_ESCAPES:
        plain = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
        # Halves of signs beyond the first plane are put together.
        yield plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if len(_ENTITY.findall(text)) >= _LEAST_ESCAPES:
        yield html.unescape(text)


def _spelt(text: str) -> Iterator[str]:
    """Yield what is spelt with a mark after each letter: H-o-w."""
    for match in _SPELT.finditer(text):
        spelt = match[0][::2]
        # A line drawn with dashes spells nothing.
        if sum(map(str.isalnum, spelt)) >= _LEAST_SPELT:
            yield spelt


def _as_text(content: bytes) -> Iterator[str]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    if text and all(sign.isprintable() or sign.isspace() for sign in text):
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
        if decoded != line and _reads_better(decoded, line):
            lines.append(decoded)
    if lines:
        yield " ".join(lines)
    if len(lines) > 1:
        # Backwards, the last line comes first.
        yield " ".join(reversed(lines))


def _reads_better(decoded: str, line: str) -> bool:
    # Signs that are words are the same backwards: which way they read is not to be told by them.
    if is_mostly_unspaced(normalised_words(line)):
        return True
    return _count_common(decoded) >= max(_LEAST_COMMON, 2 * _count_common(line))


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
