"""Open a text file, decompressed and as UTF-8 bytes, whatever it is encoded in.

Reading goes through UTF-8 bytes because lines of JSON are bound and parsed as bytes. A byte that
the encoding does not know comes through as it is, so its row is rejected, and no other.
"""

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.bounds import BoundedReader, InputBounds, open_regular
from aidsafe_dagster.sources.encodings import SAMPLE_BYTES, UTF_8, detect_encoding

COMPRESSED = (".gz", ".xz", ".bz2", ".zst")
_CHUNK = 2**16
_FOREIGN = (
    (b"PAR1", "Parquet; name it .parquet"),
    (b"PK\x03\x04", "a spreadsheet or an archive; save it as CSV, or unpack it"),
    (b"\x1f\x8b", "gzip; name it .gz"),
    (b"\xfd7zXZ", "xz; name it .xz"),
    (b"BZh", "bzip2; name it .bz2"),
    (b"\x28\xb5\x2f\xfd", "Zstandard; name it .zst"),
    (b"ARROW1", "Arrow; save it as Parquet"),
    (b"SQLite format 3", "a SQLite database; save its table as CSV"),
    (b"%PDF-", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of an old kind; save it as CSV"),
)
"""First bytes of files that are no text, and what to do."""


@dataclass(frozen=True)
class TextFile:
    bounded: BoundedReader
    """Counts what reading takes."""
    bytes: "BufferedReader[io.RawIOBase]"
    """The text in UTF-8, without a mark."""
    encoding: str
    """That of the file."""


@contextmanager
def open_text(
    path: Path, bounds: InputBounds, encoding: str | None
) -> Iterator[TextFile]:
    """Open a text file; without an encoding, find it out.

    Raises:
        SetupError: it is no text, or its encoding has to be named.
    """
    with _open(path) as file:
        sample = file.read(SAMPLE_BYTES)
    _require_text(path, sample)
    if encoding is None:
        is_whole = len(sample) < SAMPLE_BYTES
        encoding = detect_encoding(sample, path, is_whole=is_whole)
    with _open(path) as file:
        bounded = BoundedReader(file, path, bounds)
        raw: io.RawIOBase = bounded
        if encoding != UTF_8:
            raw = _Utf8Reader(bounded, encoding)
        buffered = BufferedReader(raw)
        if buffered.peek(3)[:3] == codecs.BOM_UTF8:
            buffered.read(3)
        yield TextFile(bounded, buffered, encoding)


def compression(name: str) -> str:
    """Return the suffix of the compression, or an empty string."""
    return next((suffix for suffix in COMPRESSED if name.endswith(suffix)), "")


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    with open_regular(path) as raw, _decompressed(path, raw) as file:
        yield file


def _decompressed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    suffix = compression(path.name.lower())
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if suffix == ".xz":
        return cast("IO[bytes]", lzma.LZMAFile(raw))
    if suffix == ".bz2":
        return cast("IO[bytes]", bz2.BZ2File(raw))
    if suffix == ".zst":
        return cast("IO[bytes]", pa.CompressedInputStream(raw, "zstd"))
    return raw


def _require_text(path: Path, sample: bytes) -> None:
    for magic, remedy in _FOREIGN:
        if sample.startswith(magic):
            raise SetupError(f"{path}: by its content it is {remedy}")


class _Utf8Reader(io.RawIOBase):
    """Reads a text of any encoding as UTF-8."""

    def __init__(self, file: BoundedReader, encoding: str) -> None:
        self._file = file
        # Only the one can bring bytes of UTF-16 through, only the other those of code pages.
        is_wide = encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32"))
        self._errors = "surrogatepass" if is_wide else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._file.read(_CHUNK)
            if not data:
                return 0
            text = self._decoder.decode(data)
            self._ready = text.encode(UTF_8, self._errors)
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
