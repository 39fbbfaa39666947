"""What separates the fields of a CSV file is found out, said, and can be named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.rejection import Rejection
from aidsafe_dagster.sources.source import SourceSpec
from tests.sources.builders import a_source, run_ingestion, texts


def prompts_of(path: Path, text: str, **settings: str) -> list[str]:
    path.write_text(text, encoding="utf-8", newline="")
    return texts(run_ingestion(a_source(path, **settings)))


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("prompt;k\nHello, you;a\nAre you well, or not?;b\n", ["Hello, you"]),
        ("prompt\tk\nHello, you; there\ta\n", ["Hello, you; there"]),
        ("k|prompt\n1|Hello, you; there\n", ["Hello, you; there"]),
        ("id;score;prompt\n1;0,5;Hello\n2;1,25;Other words\n", ["Hello"]),
        ('id;prompt\n1;"two\nlines; ""so"""\n', ['two\nlines; "so"']),
        ("prompt;note (a, b)\nHello, you;x\n", ["Hello, you"]),
        ("sep=;\nprompt;k\nHello;a\n", ["Hello"]),
        ('"sep=|"\r\nprompt|k\r\nHello|a\r\n', ["Hello"]),
        ("sep=,\nprompt,k\nHello,a\n", ["Hello"]),
        ("\ufeffsep=\t\nprompt\tk\nHello\ta\n", ["Hello"]),
        ("id, prompt , k\n1, Hello,a\n", ["Hello"]),
        ('id, prompt\n1, "Hello, you"\n', ["Hello, you"]),
        ("\n\nprompt,k\n\nHello,a\n", ["Hello"]),
        ("prompt,k\rHello,a\rOther words,b\r", ["Hello"]),
    ],
)
def test_the_separator_is_found_out(
    tmp_path: Path, text: str, prompts: list[str]
) -> None:
    assert prompts_of(tmp_path / "a.csv", text)[:1] == prompts


def test_a_file_of_one_column_needs_no_quotation_marks(tmp_path: Path) -> None:
    text = 'prompt\nHello, how are you?\nTea; or not\n"He said ""so"", and left"\n'
    assert prompts_of(tmp_path / "a.csv", text) == [
        "Hello, how are you?",
        "Tea; or not",
        'He said "so", and left',
    ]


def test_any_other_separator_is_asked_for_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = "prompt^k\nHello, you^a\n"
    with pytest.raises(SetupError, match=r"'\^' separates its fields.*--delimiter"):
        prompts_of(path, text)
    assert prompts_of(path, text, delimiter="^") == ["Hello, you"]


@pytest.mark.parametrize("name", ["tab", "\\t", "\t", "TAB"])
def test_a_separator_has_a_name_or_is_one_character(tmp_path: Path, name: str) -> None:
    text = "prompt\tk\nHello\ta\n"
    assert prompts_of(tmp_path / "a.csv", text, delimiter=name) == ["Hello"]
    with pytest.raises(ValidationError, match="one character, or one of comma"):
        SourceSpec(name="a", path=tmp_path, delimiter="::")


def test_unnamed_columns_at_the_right_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,k,,\nHello,a,,\nOther,b,,\nThird,c\nFourth,d,,,,,\n")
    table = read_file(path)
    assert table.columns == ("prompt", "k")
    contents = [row.content for row in table.rows]
    assert contents[0] == {"prompt": "Hello", "k": "a"}
    assert contents[3] == {"prompt": "Fourth", "k": "d"}
    assert isinstance(contents[2], Rejection)


def test_a_column_that_is_there_twice_stops_nothing_unless_it_is_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    assert prompts_of(path, "prompt,note,note\nHello,a,b\n") == ["Hello"]
    with pytest.raises(SetupError, match="names columns twice: prompt"):
        prompts_of(path, "prompt,prompt\nHello,a\n")


def test_a_first_line_that_is_no_header_is_named(tmp_path: Path) -> None:
    text = "How do I renew a passport?,admin\nIs tea healthy?,food\n"
    with pytest.raises(SetupError, match="first line must hold the names"):
        prompts_of(tmp_path / "a.csv", text)


def test_how_a_file_was_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt;k\nHello;a\n")
    (file,) = run_ingestion(a_source(path)).files
    assert (file.file, file.rows, file.prompts) == ("a.csv", 1, "prompt")
    assert file.form == "separator semicolon"
