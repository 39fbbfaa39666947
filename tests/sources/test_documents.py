from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.documents import read_document

MARKDOWN = """---
author: us
---
# Support handbook

Agents never give out
a name.

## Cards ##
- Do not repeat card numbers.
- Ask for no password.
<!-- Agents always lie. -->
"""


def a_pdf(path: Path, *pages: list[str]) -> Path:
    """Write a PDF of these lines by hand: the objects, and where each begins."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, lines in enumerate(pages):
        shown = " T* ".join(f"({line}) Tj" for line in lines)
        content = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    text = "%PDF-1.4\n"
    places = []
    for number, one in enumerate(objects, start=1):
        places.append(len(text))
        text += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(objects) + 1
    trailer = f"<< /Size {count} /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF\n"
    head = f"xref\n0 {count}\n0000000000 65535 f \n"
    path.write_bytes(f"{text}{head}{table}trailer\n{trailer}".encode("latin-1"))
    return path


def a_file(folder: Path, content: bytes, name: str = "handbook.md") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_markdown_is_read_in_blocks_with_their_lines(tmp_path: Path) -> None:
    document = read_document(a_file(tmp_path, MARKDOWN.encode()))
    assert document.title == "Support handbook"
    assert [(block.text, block.place) for block in document.blocks] == [
        ("Support handbook", "line 4"),
        ("Agents never give out\na name.", "line 6"),
        ("Cards", "line 9"),
        ("- Do not repeat card numbers.", "line 10"),
        ("- Ask for no password.", "line 11"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_text_is_read_in_the_encoding_that_it_has(
    tmp_path: Path, encoding: str
) -> None:
    text = "Für jede Rückfrage gilt: Adressen werden nie genannt.\r\n"
    document = read_document(a_file(tmp_path, text.encode(encoding), "regeln.txt"))
    assert [block.text for block in document.blocks] == [text.strip()]


def test_a_pdf_is_read_page_by_page_without_its_running_lines(tmp_path: Path) -> None:
    pages = [
        ["Handbook 2026", f"Rule {n}: give out no name on day {n * 7}.", f"page {n}"]
        for n in range(1, 5)
    ]
    document = read_document(a_pdf(tmp_path / "handbook.pdf", *pages))
    assert document.pages == 4
    assert [block.place for block in document.blocks] == [
        f"page {n}" for n in range(1, 5)
    ]
    assert document.blocks[1].text == "Rule 2: give out no name on day 14."


def test_a_pdf_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    path = a_pdf(tmp_path / "handbook.txt", ["Give out no name to anybody at all."])
    assert read_document(path).blocks[0].place == "page 1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no text"),
        (b" \n\n# \n", "no text"),
        (b"PK\x03\x04rest", "Word"),
        (b"{\\rtf1 x}", "rich text"),
        (b"%PDF-1.7\nnothing else", "not a PDF that can be read"),
    ],
)
def test_what_is_no_document_is_refused_with_what_to_do(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        read_document(a_file(tmp_path, content))


def test_a_scan_is_refused_since_nothing_of_it_can_be_quoted(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"2 pages without text.*OCR"):
        read_document(a_pdf(tmp_path / "scan.pdf", [""], [""]))


def test_a_folder_or_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="a folder"):
        read_document(tmp_path)
    with pytest.raises(SetupError, match="no such file"):
        read_document(tmp_path / "none.md")
