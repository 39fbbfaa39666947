"""Which encoding a text file is in: UTF-8, UTF-16, Windows-1252, or one that has to be named.

A spreadsheet saves what its menu says: UTF-8 with a mark, UTF-16, or the code page of its country.
The first two can be told for sure. Of the code pages only the Western one is taken by itself, and
only where it reads as a Western language; any other has to be named, because the wrong one turns
every letter into another.
"""

import codecs
import unicodedata
from pathlib import Path

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.rows import is_text

SAMPLE_BYTES = 2**24
"""Beginning of a file from which its encoding is told."""
UTF_8 = "utf-8"
GUESSED = "cp1252"
"""The one encoding that is taken without a sign that is sure."""
_MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    # Before UTF-16, whose mark it begins with.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = frozenset(
    "àâäáãåæçéèêëíìîïñóòôöõøœúùûüßÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜ"
    "¿¡«»‹›’‘“”„–—…€£¥§°º\xa0ª²½¼¾·•™®©´×÷±"
)
_MOST_IMPLAUSIBLE = 0.02
_LONGEST_RUN = 2
"""Accented letters in a row that a Western word may have."""
_CODE_PAGES = (
    "cp1251",
    "cp1250",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp932",
    "gb18030",
    "big5",
    "cp949",
    "koi8_r",
    "mac_roman",
    "cp1252",
)
"""What spreadsheets and editors save, by how the world's languages are spread."""
_MOST_SUGGESTIONS = 4
_EXCERPT_CHARS = 48
_DAMAGED = ("\udc80", "\udcff")
"""Between these is what a byte that is not UTF-8 is decoded to."""
_FEW_BYTES = 3
_MOST_DAMAGED = 0.1
"""Share of lines with bytes that are not UTF-8, above which the file is in another encoding."""


def detect_encoding(sample: bytes, path: Path, *, is_whole: bool) -> str:
    """Return the codec of a text by its beginning.

    A text with a few bytes that are not UTF-8 is UTF-8: the rows that hold them are damaged.

    Raises:
        SetupError: it is in a code page that has to be named; shows how likely ones would read.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if wide := _wide_encoding(sample):
        return wide
    decoder = codecs.getincrementaldecoder(UTF_8)("surrogateescape")
    text = decoder.decode(sample, final=is_whole)
    if is_text(text):
        return UTF_8
    foreign = [char for char in text if not char.isascii()]
    damaged = sum(_DAMAGED[0] <= char <= _DAMAGED[1] for char in foreign)
    # Another encoding has few characters that are whole in UTF-8, by chance.
    if damaged <= len(foreign) / 2:
        return UTF_8
    if _reads_as_western(sample):
        return GUESSED
    lines = [line for line in sample.splitlines() if line.strip()]
    strange = [line for line in lines if not line.isascii()]
    if damaged >= _FEW_BYTES and len(strange) > _MOST_DAMAGED * len(lines):
        raise SetupError(_explain(path, sample, strange[0]))
    return UTF_8


def is_codec_of_text(name: str) -> bool:
    """Return whether the name is that of an encoding of text."""
    try:
        "".encode(name)
    except LookupError:
        return False
    return True


def _wide_encoding(sample: bytes) -> str | None:
    """Return UTF-16 without a mark, which has a null in every other byte of Western text."""
    head = sample[: 2**12]
    pairs = len(head) // 2
    if pairs < 2:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > 0.4 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    if even > 0.4 * pairs and odd < 0.05 * pairs:
        return "utf-16-be"
    return None


def _reads_as_western(sample: bytes) -> bool:
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    total = 0
    implausible = 0
    run = 0
    before = ""
    for char in text:
        if char.isascii():
            run = 0
        else:
            total += 1
            run = run + 1 if char.isalpha() else 0
            # A capital within a word: the file is in another code page.
            is_misplaced = char.isupper() and before.islower()
            if char not in _WESTERN or run > _LONGEST_RUN or is_misplaced:
                implausible += 1
        before = char
    return implausible <= _MOST_IMPLAUSIBLE * total


def _explain(path: Path, sample: bytes, line: bytes) -> str:
    number = sample[: sample.index(line)].count(b"\n") + 1
    readings = []
    for encoding in _CODE_PAGES:
        try:
            readings.append((encoding, line.decode(encoding)))
        except UnicodeDecodeError:
            continue
    likely = sorted(readings, key=lambda reading: _strangeness(reading[1]))
    shown = "\n".join(
        f"  {encoding:<10} {_excerpt(text)}"
        for encoding, text in likely[:_MOST_SUGGESTIONS]
    )
    return (
        f"{path}: the text is neither UTF-8 nor UTF-16. Name its encoding "
        f"(--encoding, or the source's 'encoding'). Line {number} would read as\n{shown}"
    )


def _strangeness(text: str) -> float:
    """Return how unlike a language a text is: scripts that mix, and signs in place of letters."""
    scripts = set[str]()
    strange = 0
    for before, char, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if char.isascii():
            continue
        if not char.isalpha():
            strange += 1
            continue
        script = unicodedata.name(char, "?").split()[0]
        scripts.add(script)
        is_within_latin = (before + after).strip().isascii() and before.isalpha()
        is_misplaced = char.isupper() and before.islower()
        strange += is_misplaced or (is_within_latin and script != "LATIN")
    return strange + 3 * max(0, len(scripts) - 1)


def _excerpt(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    # From the first strange letter's word on.
    start = next((i for i, char in enumerate(printable) if not char.isascii()), 0)
    return printable[max(0, start - 12) :][:_EXCERPT_CHARS].strip()
