"""Parquet files of other programs: only what is asked for is read."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.files import read_file
from tests.sources.builders import a_source, reasons, run_ingestion, texts

PROMPTS = ["How do I renew a passport?", "What is soap made of?"]
LATE = 2**50
"""Seconds, beyond any date of Python."""


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "column",
    [
        pa.array([-2_000_000, 1], pa.date32()),
        pa.array([LATE, 1], pa.timestamp("s")),
        pa.array([2**62, 1], pa.duration("ms")),
        pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        pa.array([{"x": LATE}, None], pa.struct([("x", pa.timestamp("s"))])),
        pa.array([b"\xff", None], pa.binary()),
    ],
    ids=["date", "timestamp", "duration", "map", "struct", "bytes"],
)
def test_a_column_that_nobody_asked_for_stops_nothing(
    tmp_path: Path, column: pa.Array
) -> None:
    path = written(tmp_path / "a.parquet", prompt=PROMPTS, odd=column)
    assert texts(run_ingestion(a_source(path))) == PROMPTS


@pytest.mark.parametrize(
    "column",
    [
        pa.array(PROMPTS).dictionary_encode(),
        pa.array(PROMPTS, pa.large_string()),
        pa.array(PROMPTS, pa.string_view()),
        pa.array([prompt.encode() for prompt in PROMPTS], pa.binary()),
    ],
    ids=["dictionary", "large", "view", "bytes"],
)
def test_text_is_read_whatever_its_type(tmp_path: Path, column: pa.Array) -> None:
    path = written(tmp_path / "a.parquet", prompt=column)
    assert texts(run_ingestion(a_source(path))) == PROMPTS


def test_a_value_that_cannot_be_converted_costs_its_row(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.parquet",
        prompt=PROMPTS,
        category=pa.array([LATE, 1], pa.timestamp("s")),
    )
    ingestion = run_ingestion(a_source(path))
    assert texts(ingestion) == PROMPTS[1:]
    assert reasons(ingestion) == [("a.parquet row 1", "not_text")]
    assert "'category' cannot be read" in ingestion.dropped[0].detail


def test_a_field_of_a_turn_that_nobody_asked_for_stops_nothing(tmp_path: Path) -> None:
    turn = pa.struct(
        [("role", pa.string()), ("content", pa.string()), ("at", pa.timestamp("s"))]
    )
    turns = [[{"role": "user", "content": prompt, "at": LATE}] for prompt in PROMPTS]
    path = written(tmp_path / "a.parquet", messages=pa.array(turns, pa.list_(turn)))
    assert texts(run_ingestion(a_source(path))) == PROMPTS


def test_an_object_in_place_of_a_prompt_names_what_is_in_it(tmp_path: Path) -> None:
    objects = pa.array([{"text": prompt} for prompt in PROMPTS])
    path = written(tmp_path / "a.parquet", prompt=objects)
    with pytest.raises(SetupError, match=r"name one of them: 'prompt\.text'"):
        run_ingestion(a_source(path))
    ingestion = run_ingestion(a_source(path, columns={"prompt": "prompt.text"}))
    assert texts(ingestion) == PROMPTS


def test_only_the_wanted_columns_are_read_and_all_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", prompt=PROMPTS, a=[1, 2], b=[3, 4])
    table = read_file(path, columns=lambda _: ["a"])
    assert table.columns == ("prompt", "a", "b")
    assert table.rows[0].content == {"a": 1}
