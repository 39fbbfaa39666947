"""Records survive the way to a frame and back, and the schema never depends on the rows."""

from typing import Any

import polars as pl
import pytest

from aidsafe_dagster.lake.earlier_layouts import OtherLayout
from aidsafe_dagster.lake.tables import from_frame, schema_of, to_frame
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Failure,
    FineTuneRow,
    PreferencePair,
    Prompt,
    Record,
    RefinedCot,
    SeedCot,
    Usage,
)
from tests.builders import (
    a_deliberated_cot,
    a_dpo_row,
    a_failure,
    a_pair,
    a_prompt,
    a_refined_cot,
    a_seed_cot,
    an_sft_row,
)

ROWS: list[tuple[type[Record], list[Record]]] = [
    (Prompt, [a_prompt(), a_prompt(prompt="锁 🔒\n\x07")]),
    (SeedCot, [a_seed_cot(), a_seed_cot(thoughts=(), intents=())]),
    (
        DeliberatedCot,
        [a_deliberated_cot(), a_deliberated_cot(turns=(), outcome="budget")],
    ),
    (RefinedCot, [a_refined_cot(), a_refined_cot(judgements=())]),
    (PreferencePair, [a_pair(), a_pair(similarity=1)]),
    (FineTuneRow, [a_dpo_row(), an_sft_row()]),
    (Failure, [a_failure(redraws=()), a_failure()]),
]


@pytest.mark.parametrize(
    ("record", "rows"), ROWS, ids=[record.__name__ for record, _ in ROWS]
)
def test_records_come_back_as_they_were(
    record: type[Record], rows: list[Record]
) -> None:
    assert from_frame(to_frame(rows, record), record) == rows
    assert from_frame(to_frame(rows[:1], record), record) != rows


@pytest.mark.parametrize(
    ("record", "rows"), ROWS, ids=[record.__name__ for record, _ in ROWS]
)
def test_no_rows_give_the_same_columns_and_types(
    record: type[Record], rows: list[Record]
) -> None:
    none, some = to_frame([], record), to_frame(rows, record)
    assert (none.height, some.height) == (0, 2)
    assert none.schema == some.schema == schema_of(record)
    assert some.columns == list(record.model_fields)


def test_each_kind_of_field_has_its_column_type() -> None:
    message = pl.Struct({"role": pl.String, "content": pl.String})
    for record, column, kind in (
        (Failure, "reason", pl.String()),
        (Failure, "turn", pl.Int64()),
        (Failure, "redraws", pl.List(pl.Int64)),
        (
            Failure,
            "usage",
            pl.Struct(
                {
                    **dict.fromkeys(Usage.model_fields, pl.Int64),
                    "cost": pl.Float64,
                }
            ),
        ),
        (RefinedCot, "rests_on_dropped", pl.Boolean()),
        (PreferencePair, "similarity", pl.Float64()),
        (FineTuneRow, "split", pl.String()),
        (FineTuneRow, "messages", pl.List(message)),
    ):
        assert schema_of(record)[column] == kind, column


def test_a_column_of_nothing_but_nulls_keeps_its_type() -> None:
    only_sft = to_frame([an_sft_row()], FineTuneRow)
    assert only_sft["chosen"].null_count() == 1
    assert pl.concat([only_sft, to_frame([a_dpo_row()], FineTuneRow)]).height == 2


def test_a_frame_with_another_column_is_refused() -> None:
    frame = to_frame([a_prompt()], Prompt)
    with pytest.raises(OtherLayout, match="mood"):
        from_frame(frame.with_columns(mood=pl.lit("fine")), Prompt)
    with pytest.raises(OtherLayout, match="licence"):
        from_frame(frame.drop("licence"), Prompt)


class Mixed(Record):
    value: int | str


class Loose(Record):
    value: dict[str, Any]


@pytest.mark.parametrize("record", [Mixed, Loose])
def test_a_field_that_fits_no_column_is_named(record: type[Record]) -> None:
    with pytest.raises(TypeError, match=rf"{record.__name__}\.value"):
        schema_of(record)
