"""Records as tables: a polars frame per record class, with its fields as columns, in their order.

The schema comes from the record class and never from the rows. So a batch without rows, or with a
column of nothing but nulls, has the same columns and types as any other, and can be concatenated
with it.
"""

import types
import typing
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar

import polars as pl
from pydantic import BaseModel

from aidsafe_dagster.lake.earlier_layouts import to_record
from aidsafe_dagster.recipe.records import Record

R = TypeVar("R", bound=Record)

_CHUNK_ROWS = 50
"""Rows converted at a time. In between, a row is a dictionary many times its size."""
_SCALARS: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
}


@cache
def schema_of(record_class: type[Record]) -> pl.Schema:
    """Return the column names and types of a record class.

    Raises:
        TypeError: a field's type has no column type.
    """
    columns = {}
    for name, field in record_class.model_fields.items():
        place = f"{record_class.__name__}.{name}"
        columns[name] = _column_type(field.annotation, place)
    return pl.Schema(columns)


def to_frame(rows: Sequence[Record], record_class: type[Record]) -> pl.DataFrame:
    """Return a frame with one row per record; without records, all columns and no rows."""
    schema = schema_of(record_class)
    chunks = []
    # At least one chunk, because an empty list of frames cannot be concatenated.
    for start in range(0, max(1, len(rows)), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        values = [row.model_dump(mode="json") for row in chunk]
        chunks.append(pl.DataFrame(values, schema=schema))
    return pl.concat(chunks)


def from_frame(frame: pl.DataFrame, record_class: type[R]) -> list[R]:
    """Return the records of a frame, validated; the inverse of `to_frame`.

    Rows of earlier releases are completed.

    Raises:
        OtherLayout: another release wrote rows that cannot be read as these records.
    """
    rows = frame.iter_rows(named=True, buffer_size=_CHUNK_ROWS)
    return [to_record(row, record_class) for row in rows]


def _column_type(annotation: Any, place: str) -> pl.DataType:  # noqa: PLR0911 - a return per type
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        # Every column may hold nulls, so `X | None` is a column of X.
        members = [argument for argument in arguments if argument is not type(None)]
        member = _only(members, annotation, place)
        return _column_type(member, place)
    if origin is typing.Annotated:
        return _column_type(arguments[0], place)
    if origin is tuple:
        members = [argument for argument in arguments if argument is not Ellipsis]
        member = _only(members, annotation, place)
        return pl.List(_column_type(member, place))
    if origin is Literal:
        # Not an enum column: a value that a later release adds must still fit older files.
        value_types = list({type(value) for value in arguments})
        value_type = _only(value_types, annotation, place)
        return _column_type(value_type, place)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {}
        for name, field in annotation.model_fields.items():
            fields[name] = _column_type(field.annotation, f"{place}.{name}")
        return pl.Struct(fields)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return pl.String()
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    raise TypeError(f"{place}: no column type for {annotation}")


def _only(candidates: list[Any], annotation: Any, place: str) -> Any:
    if len(candidates) != 1:
        raise TypeError(f"{place}: no column type for {annotation}: its parts differ")
    return candidates[0]
