"""Records as tables: a polars frame per record class, one column per field, in the order of the fields.

The schema comes from the record class and never from the rows, so a batch with no rows, or with a column of nothing
but nulls, has the same columns and types as any other and stacks with it.
"""

import types
import typing
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar

import polars as pl
from pydantic import BaseModel

from aidsafe_dagster.recipe.records import Record

R = TypeVar("R", bound=Record)

_ROWS_AT_A_TIME = 50
"""On their way between records and columns: dictionaries take many times the memory of either."""
_SCALARS: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
}


@cache
def schema_of(record_class: type[Record]) -> pl.Schema:
    """Column names and types of a record class.

    Raises:
        TypeError: a field's type has no column type.
    """
    fields = record_class.model_fields.items()
    return pl.Schema(
        {
            name: _column_type(field.annotation, f"{record_class.__name__}.{name}")
            for name, field in fields
        }
    )


def to_frame(rows: Sequence[Record], record_class: type[Record]) -> pl.DataFrame:
    """One row per record; no records make a frame with all columns and no rows."""
    schema = schema_of(record_class)
    starts = range(0, max(1, len(rows)), _ROWS_AT_A_TIME)
    parts = (rows[start : start + _ROWS_AT_A_TIME] for start in starts)
    return pl.concat(
        [
            pl.DataFrame([row.model_dump(mode="json") for row in part], schema=schema)
            for part in parts
        ]
    )


def from_frame(frame: pl.DataFrame, record_class: type[R]) -> list[R]:
    """The records of a frame, validated; the inverse of `to_frame`.

    Raises:
        pydantic.ValidationError: the frame has other columns, or a value that the record does not take.
    """
    rows = frame.iter_rows(named=True, buffer_size=_ROWS_AT_A_TIME)
    return [record_class.model_validate(row) for row in rows]


def _column_type(annotation: Any, place: str) -> pl.DataType:  # noqa: PLR0911 - one return a kind of type
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _column_type(
            _the_one([a for a in arguments if a is not type(None)], annotation, place), place
        )
    if origin is typing.Annotated:
        return _column_type(arguments[0], place)
    if origin is tuple:
        return pl.List(
            _column_type(
                _the_one([a for a in arguments if a is not Ellipsis], annotation, place), place
            )
        )
    if origin is Literal:
        return _column_type(
            _the_one(list({type(value) for value in arguments}), annotation, place), place
        )
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return pl.Struct(
            {name: _column_type(field.annotation, f"{place}.{name}") for name, field in fields}
        )
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return pl.String()
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    raise TypeError(f"{place}: no column type for {annotation}")


def _the_one(candidates: list[Any], annotation: Any, place: str) -> Any:
    if len(candidates) != 1:
        raise TypeError(f"{place}: no column type for {annotation}: its parts differ")
    return candidates[0]
