import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.bounds import InputBounds
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.rejection import Rejection
from tests.sources.builders import write_csv


def zstandard(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    compressed: bytes = sink.getvalue().to_pybytes()
    return compressed


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard,
}


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
@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".bz2", ".zst"])
def test_text_formats_read_the_same_with_mark_and_compression(
    tmp_path: Path, name: str, data: bytes, mark: bytes, suffix: str
) -> None:
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(COMPRESS[suffix](mark + data))
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


def test_the_content_says_whether_a_file_is_json_or_json_lines(
    tmp_path: Path,
) -> None:
    rows = [{"prompt": "a"}, {"prompt": "b"}]
    (tmp_path / "list.jsonl").write_text(json.dumps(rows, indent=1))
    (tmp_path / "lines.json").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    (tmp_path / "wrapped.json").write_text(json.dumps({"version": 1, "data": rows}))
    for name in ("list.jsonl", "lines.json", "wrapped.json"):
        assert contents(tmp_path / name) == rows


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\nnot JSON\n')
    assert len(read_file(tmp_path / "a.jsonl", limit=1).rows) == 1


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xlsx", b"", "unsupported kind of file; save the sheet as 'CSV UTF-8'"),
        ("a.feather", b"", "unsupported kind of file; save it as Parquet"),
        ("a.txt", b"", r"unsupported kind of file.*Supported: CSV .*\.parquet"),
        ("a.gz", b"", "unsupported kind of file"),
        ("a.csv", b"PK\x03\x04", "by its content it is a spreadsheet"),
        ("a.csv", b"PAR1", "by its content it is Parquet"),
        ("a.jsonl", gzip.compress(b"{}"), r"it is gzip; name it \.gz"),
        ("a.csv", b"", "no rows"),
        ("a.csv", b"prompt\n", "no rows"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.json", b"", "no rows"),
        ("a.json", b"[]", "no rows"),
        (
            "a.json",
            b'{"prompt": "x"}',
            "expected a JSON list of objects, found an object with the keys prompt",
        ),
        ("a.json", b'{"prompt": {"0": "x"}}', "orient='records'"),
        ("a.json", b'[{"prompt":\n"x"', "not parseable JSON at line 2, column 4"),
        ("a.jsonl", b"\n{oops}\n{oops}\n", "not parseable JSON at line 2"),
        ("a.jsonl", b"[" * 100_000, "not parseable JSON at line 1"),
        ("a.json", b"3", "found a number"),
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


SMALL = InputBounds(max_file_mib=1, max_row_kib=1, max_nesting=3)


def outcomes(path: Path, bounds: InputBounds = SMALL) -> list[object]:
    values = list[object]()
    for row in read_file(path, bounds=bounds).rows:
        if isinstance(row.content, Rejection):
            values.append(row.content.detail)
        else:
            values.append(row.content["prompt"])
    return values


def test_a_line_that_is_no_json_is_one_rejected_row(tmp_path: Path) -> None:
    lines = (b'{"prompt": "a"}', b"{oops}", b"[" * 900, b'{"prompt": ' + b"9" * 5000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join((*lines, b"}", b'{"prompt": "b"}')))
    bounds = InputBounds()
    assert [type(value) for value in outcomes(path, bounds)] == [str] * 6
    reasons = contents(path)
    assert reasons[1:5] == ["not_parseable"] * 4
    assert reasons[5] == {"prompt": "b"}


def test_a_quotation_mark_that_never_closes_costs_its_line_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,id\na,1\n"b,2\nc,3\n"d\nd",4\n"e"x,5\nf,6\n')
    values = outcomes(path, InputBounds())
    assert [value for value in values if "not parseable" not in str(value)] == [
        "a",
        "c",
        "d\nd",
        "f",
    ]
    assert len(values) == 6


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.json"])
def test_a_row_over_the_bound_is_rejected_alone_with_the_setting_to_raise(
    tmp_path: Path, name: str
) -> None:
    prompts = ["a", "x" * 3000, "b"]
    path = tmp_path / name
    if ".json" in name:
        rows = [json.dumps({"prompt": prompt}) for prompt in prompts]
        text = "\n".join(rows) if "l" in name else f"[{','.join(rows)}]"
    else:
        text = "\n".join(["prompt", *prompts])
    path.write_bytes(
        gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    )
    first, large, last = outcomes(path)
    assert (first, last) == ("a", "b")
    assert "larger than 1 KiB (ingest.max_row_kib)" in str(large)


def test_a_row_that_is_nested_too_deep_is_rejected_alone(tmp_path: Path) -> None:
    deep = '{"prompt": "x", "more": [[[[1]]]]}'
    (tmp_path / "a.jsonl").write_text(f'{deep}\n{{"prompt": "b"}}\n')
    (tmp_path / "a.json").write_text(f'[{deep}, {{"prompt": "b"}}]')
    for name in ("a.jsonl", "a.json"):
        values = outcomes(tmp_path / name)
        assert values == ["nested deeper than 3 levels (ingest.max_nesting)", "b"]


def a_bomb(path: Path) -> None:
    rows = b'{"prompt": "' + b" " * 1000 + b'"}\n'
    if path.suffix == ".parquet":
        table = pl.DataFrame({"prompt": ["x" * 500] * 4000})
        table.write_parquet(path, compression="zstd")
    elif path.suffix == ".xz":
        path.write_bytes(lzma.compress(rows * 4000))
    else:
        path.write_bytes(gzip.compress(rows * 4000))


@pytest.mark.parametrize(
    "name", ["a.jsonl.gz", "a.json.gz", "a.csv.gz", "a.jsonl.xz", "a.parquet"]
)
def test_a_file_that_is_larger_inside_is_refused_with_the_setting_to_raise(
    tmp_path: Path, name: str
) -> None:
    a_bomb(tmp_path / name)
    assert (tmp_path / name).stat().st_size < 100_000
    with pytest.raises(SetupError, match=r"1 MiB .* raise ingest\.max_file_mib"):
        read_file(tmp_path / name, bounds=SMALL)
    if name != "a.json.gz":
        assert len(read_file(tmp_path / name, limit=2, bounds=SMALL).rows) == 2


def test_many_tiny_rows_count_for_what_they_take_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n" * 10_000)
    with pytest.raises(SetupError, match="max_file_mib"):
        read_file(tmp_path / "a.jsonl", bounds=SMALL)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.gz", "a.json", "a.parquet"])
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SetupError, match="a pipe, not a file"):
        read_file(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(SetupError, match="a device, not a file"):
        read_file(tmp_path / name)
