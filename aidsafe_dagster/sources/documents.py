"""Documents as text in blocks with their places: Markdown, plain text and PDF (pypdf).

A PDF without text, such as a scan, is refused: nothing of it could be quoted.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.foreign_text import storable
from aidsafe_dagster.recipe.passages import Block
from aidsafe_dagster.sources.bounds import open_regular
from aidsafe_dagster.sources.encodings import detect_encoding

if TYPE_CHECKING:
    from pypdf import PdfReader

MAX_BYTES = 64 * 2**20
_MIB = 2**20
_PDF = b"%PDF-"
_HEAD_BYTES = 1024
"""A PDF may begin within these."""
_FOREIGN = (
    (
        b"PK\x03\x04",
        "a Word or other packed document; save it as text, Markdown or PDF",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Word document; save it as text, Markdown or PDF"),
    (b"{\\rtf", "rich text; save it as plain text or PDF"),
    (b"\x1f\x8b", "gzip; unpack it"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")
_UNDERLINE = re.compile(r"^(?:={3,}|-{3,})\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+•·▪]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LEAST_LETTERS = 20
_LEAST_PAGES = 3
"""From which on a line that pages share is a header."""
_RUNNING_CHARS = 60


@dataclass(frozen=True)
class Document:
    title: str
    """By its first heading or its own data; empty if it has none."""
    blocks: tuple[Block, ...]
    pages: int = 0
    """Of a PDF."""
    empty_pages: int = 0
    """Of these, those without text, such as scans."""


def read_document(path: Path) -> Document:
    """Read a document.

    Raises:
        SetupError: there is no such file, it is of another kind, or has no text; says what to do.
    """
    content = _read_bytes(path)
    head = content[:_HEAD_BYTES]
    if _PDF in head:
        document = _read_pdf(path)
    else:
        for beginning, what in _FOREIGN:
            if head.startswith(beginning):
                raise SetupError(f"{path}: this is {what}")
        document = _read_text(path, content)
    letters = sum(_letters(block.text) for block in document.blocks)
    if letters < _LEAST_LETTERS:
        raise SetupError(_no_text(path, document))
    return document


def _no_text(path: Path, document: Document) -> str:
    if document.pages:
        return (
            f"{path}: a PDF of {document.pages} pages without text, probably a scan. Run OCR over "
            "it first (ocrmypdf, for one)"
        )
    return f"{path}: there is no text in it"


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise SetupError(f"{path}: a folder; name one document")
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise SetupError(f"{path}: there is no such file") from error
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise SetupError(f"{path}: more than {MAX_BYTES / _MIB:.0f} MiB; divide it")
    return bytes(content)


def _read_text(path: Path, content: bytes) -> Document:
    encoding = detect_encoding(content, path, is_whole=True)
    try:
        text = content.decode(encoding, "replace")
    except (UnicodeError, LookupError) as error:
        raise SetupError(f"{path}: not a text file: {error}") from error
    text = storable(
        text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    )
    blocks = tuple(_text_blocks(_blanked(text)))
    return Document(_first_heading(blocks), blocks)


def _blanked(text: str) -> str:
    """Remove front matter and comments, and keep the numbers of the lines."""
    for pattern in (_FRONT_MATTER, _COMMENT):
        text = pattern.sub(lambda match: "\n" * match[0].count("\n"), text)
    return text


def _text_blocks(text: str) -> Iterator[Block]:
    """Yield paragraphs, list items and headings, each with its first line."""
    lines: list[str] = []
    start = 0
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        heading = _HEADING.match(line)
        if lines and _UNDERLINE.match(line) and len(lines) == 1:
            yield Block(lines[0].strip(), f"line {start}", is_heading=True)
            lines = []
            continue
        ends = not line.strip() or heading is not None or _ITEM.match(line) is not None
        if ends and lines:
            yield Block("\n".join(lines).strip(), f"line {start}")
            lines = []
        if heading:
            yield Block(heading[1].strip("*_ "), f"line {number}", is_heading=True)
        elif line.strip():
            start = start if lines else number
            lines.append(line)


def _first_heading(blocks: Sequence[Block]) -> str:
    for block in blocks:
        if block.is_heading:
            return " ".join(block.text.split())
    return ""


def _read_pdf(path: Path) -> Document:
    # Takes a third of a second to import.
    from pypdf import PdfReader  # noqa: PLC0415

    # It logs every oddity of a file, which nobody can mend.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(path)
        _require_open(reader, path)
        pages = [page.extract_text() for page in reader.pages]
        title = str((reader.metadata.title if reader.metadata else "") or "")
    except SetupError:
        raise
    # Damaged files raise whatever the place at which they are damaged leads to.
    except Exception as error:
        raise SetupError(
            f"{path}: not a PDF that can be read ({type(error).__name__}: {error}); "
            "save it again, or as text"
        ) from error
    return _pdf_document(title, [storable(page) for page in pages])


def _require_open(reader: "PdfReader", path: Path) -> None:
    if reader.is_encrypted and not reader.decrypt(""):
        raise SetupError(f"{path}: needs a password; save it without one")


def _pdf_document(title: str, pages: Sequence[str]) -> Document:
    pages = _without_running_lines(pages)
    blocks = []
    for number, page in enumerate(pages, start=1):
        for paragraph in _paragraphs(page):
            blocks.append(Block(paragraph, f"page {number}"))
    empty = sum(not page.strip() for page in pages)
    return Document(" ".join(title.split()), tuple(blocks), len(pages), empty)


def _paragraphs(page: str) -> Iterator[str]:
    """Yield runs of lines; a list item begins one. Many PDFs have no blank lines at all."""
    lines: list[str] = []
    for line in [*page.split("\n"), ""]:
        if lines and (not line.strip() or _ITEM.match(line)):
            yield "\n".join(lines)
            lines = []
        if line.strip():
            lines.append(line.rstrip())


def _without_running_lines(pages: Sequence[str]) -> list[str]:
    """Remove headers and footers: a first or last line that most pages share but for numbers."""
    if len(pages) < _LEAST_PAGES:
        return list(pages)
    counts = Counter(line for page in pages for line in set(map(_running, _ends(page))))
    shared = {line for line, count in counts.items() if count > len(pages) / 2}
    cleaned = []
    for page in pages:
        lines = page.strip().split("\n")
        for place in (-1, 0):
            if len(lines) > 1 and _running(lines[place]) in shared:
                del lines[place]
        cleaned.append("\n".join(lines))
    return cleaned


def _ends(page: str) -> tuple[str, str]:
    lines = page.strip().split("\n")
    return lines[0], lines[-1]


def _running(line: str) -> str:
    """Return a line without what differs from page to page; a long one is text, and stays."""
    words = " ".join(line.split())
    return re.sub(r"\d+", "#", words) if len(words) <= _RUNNING_CHARS else words


def _letters(text: str) -> int:
    return sum(unicodedata.category(character).startswith("L") for character in text)
