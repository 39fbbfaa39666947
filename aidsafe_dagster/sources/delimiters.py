"""Which character separates the fields of a CSV file.

Excel writes a comma or a semicolon, by the country of its user, and may say which in a first line
`sep=;`. Databases write tabs and pipes. The header tells them apart: a delimiter stands in it, and
parts the records after it into as many fields.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
SAMPLE_LINES = 200
_NONE = "\x1f"
"""Stands for no delimiter: no text holds it."""
_DELIMITS = re.compile(r"[,;\t|](?=\S)")
"""A delimiter as it stands between names, and not as a mark in a sentence."""
_SEP_LINE = re.compile(r'^\ufeff?"?sep=(.)"?[,;\t|]*\s*$', re.IGNORECASE)


@dataclass(frozen=True)
class CsvForm:
    delimiter: str
    has_sep_line: bool = False
    skips_spaces: bool = False
    """Spaces after a delimiter belong to no field."""

    @property
    def name(self) -> str:
        if self.delimiter == _NONE:
            return "one column"
        name = NAMES.get(self.delimiter, f"'{self.delimiter}'")
        return f"separator {name}"

    @property
    def is_usual(self) -> bool:
        return self.delimiter == ","


def detect_form(lines: Sequence[str], delimiter: str | None) -> CsvForm:
    """Return how the fields are separated, by the first lines of the file."""
    match = _SEP_LINE.match(lines[0]) if lines else None
    body = lines[1:] if match else lines
    if delimiter is None:
        delimiter = match.group(1) if match else _best(body)
    header = next(_records(body, delimiter), [])
    skips_spaces = len(header) > 1 and all(name[:1] == " " for name in header[1:])
    return CsvForm(delimiter, match is not None, skips_spaces)


def _best(lines: Sequence[str]) -> str:
    best, best_score = _NONE, 0.0
    for delimiter in NAMES:
        score = _score(lines, delimiter)
        # The first one wins, and the comma is the first.
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _score(lines: Sequence[str], delimiter: str) -> float:
    """Return the share of records with as many fields as the header; 0 where it has one.

    Where two are alike, names without another delimiter in them count.
    """
    records = _records(lines, delimiter)
    header = next(records, [])
    if len(header) < 2:
        return 0.0
    sizes = [len(record) for record in records]
    # The last record may be cut off where the sample ends.
    if len(lines) == SAMPLE_LINES:
        sizes = sizes[:-1]
    fitting = sizes.count(len(header)) / len(sizes) if sizes else 1.0
    plain = [name for name in header if not _DELIMITS.search(name)]
    # A header alone tells little, and is better than nothing.
    return 0.01 + fitting + 0.1 * len(plain) / len(header)


def _records(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    # An empty line is no record.
    return filter(None, csv.reader(lines, delimiter=delimiter))
