import gzip
from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.rejection import Rejection
from tests.sources.builders import write_csv


def contents(path: Path) -> list[object]:
    """The content of each row, or the reason why it was rejected."""
    values = list[object]()
    for row in read_file(path).rows:
        if isinstance(row.content, Rejection):
            values.append(row.content.reason)
        else:
            values.append(row.content)
    return values


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"prompt,category\nHello,x\n"),
        ("a.jsonl", b'{"prompt": "Hello", "category": "x"}\n'),
        ("a.json", b'[{"prompt": "Hello", "category": "x"}]'),
    ],
)
@pytest.mark.parametrize(
    "mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte order mark"]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_text_formats_read_the_same_with_mark_and_compression(
    tmp_path: Path, name: str, data: bytes, mark: bytes, compressed: bool
) -> None:
    path = tmp_path / (name + ".gz" if compressed else name)
    path.write_bytes(gzip.compress(mark + data) if compressed else mark + data)
    table = read_file(path)
    assert table.columns == ("prompt", "category")
    assert contents(path) == [{"prompt": "Hello", "category": "x"}]


def test_parquet_keeps_its_nested_columns(tmp_path: Path) -> None:
    pl.DataFrame({"prompt": ["Hello"], "category": [{"fraud": True}]}).write_parquet(
        tmp_path / "a.parquet"
    )
    assert contents(tmp_path / "a.parquet") == [
        {"prompt": "Hello", "category": {"fraud": True}}
    ]


def test_csv_fields_can_hold_quotes_line_breaks_nulls_and_megabytes(
    tmp_path: Path,
) -> None:
    fields = ['She said "hi",\r\nthen\nleft', "a\x00b", "x" * 2_000_000]
    path = write_csv(tmp_path / "a.csv", [["prompt"], *([field] for field in fields)])
    assert contents(path) == [{"prompt": field} for field in fields]


def test_rows_are_numbered_by_line_in_jsonl_and_by_record_elsewhere(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"prompt": "a"}\n\n{"prompt": "b"}\n')
    (tmp_path / "a.csv").write_text('prompt\n"two\nlines"\nnext\n')
    assert [row.number for row in read_file(tmp_path / "a.jsonl").rows] == [2, 4]
    assert [row.number for row in read_file(tmp_path / "a.csv").rows] == [1, 2]


def test_bad_rows_are_rejected_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        b'[1]\n{"prompt": "\xff"}\n"text"\nnull\n{"prompt": "good"}\n'
    )
    (tmp_path / "a.csv").write_bytes(
        b"prompt,category\none,x,y\nbad \xff,x\nlone\ngood,x\n"
    )
    assert contents(tmp_path / "a.jsonl") == [
        "not_an_object",
        "not_text",
        "not_an_object",
        "not_an_object",
        {"prompt": "good"},
    ]
    assert contents(tmp_path / "a.csv") == [
        "not_an_object",
        "not_text",
        "not_an_object",
        {"prompt": "good", "category": "x"},
    ]


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\nnot JSON\n')
    assert len(read_file(tmp_path / "a.jsonl", limit=1).rows) == 1


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xlsx", b"", r"unsupported kind of file\. Supported: \.csv, .*\.parquet"),
        ("a.gz", b"", "unsupported kind of file"),
        ("a.csv", b"", "no rows"),
        ("a.csv", b"prompt\n", "no rows"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.json", b"", "no rows"),
        ("a.json", b"[]", "no rows"),
        (
            "a.json",
            b'{"prompt": "x"}',
            "expected a JSON list of objects, found an object",
        ),
        ("a.json", b'[{"prompt":\n"x"', "not parseable JSON at line 2, column 4"),
        ("a.jsonl", b'{"prompt": "x"}\n{oops}\n', "not parseable JSON at line 2"),
        ("a.jsonl", b"[" * 100_000, "not parseable JSON at line 1"),
        ("a.jsonl", b"\xff\xfe{\x00}\x00", "UTF-16"),
        ("a.csv", b'prompt\n"never closed\n', "not parseable CSV at line 2"),
        ("a.csv", b"prompt,prompt\na,b\n", "names columns twice: prompt"),
        ("a.jsonl.gz", b'{"prompt": "x"}\n', "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "x"}\n')[:-9], "cannot be read"),
        ("a.parquet", b"not parquet", "not a readable Parquet file"),
    ],
)
def test_the_error_of_a_bad_file_says_where_and_why(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SetupError, match=message) as raised:
        read_file(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


@pytest.mark.parametrize("name", ["gone.csv", "gone.json.gz", "gone.parquet"])
def test_a_missing_file_and_a_folder_have_different_errors(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(SetupError, match="there is no such file"):
        read_file(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(SetupError, match="it is a folder"):
        read_file(tmp_path / name)
