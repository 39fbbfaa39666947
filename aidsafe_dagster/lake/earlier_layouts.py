"""Rows that another release wrote, read as this release's records.

A column that was added later is missing in older files. Most have a default in their record. The
others stand in the tables below, each with the day since which it is written. Where nothing true
can be said of an older row, it is not read, and the message says what to run.

Every Parquet file of the lake holds the number of its layout. A file with a higher number is of a
later release, and is neither read nor written over.
"""

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    BeliefCandidate,
    BeliefExample,
    Failure,
    FineTuneRow,
    PreferencePair,
    Record,
    TriedBelief,
)
from aidsafe_dagster.recipe.stages import STAGES

R = TypeVar("R", bound=Record)
Row = Mapping[str, Any]

LAYOUT = 5
"""The number of this release's columns. It is raised whenever a column is added or removed."""
LAYOUT_KEY = "aidsafe_layout"
"""Its name in a Parquet file's metadata. Files from before 30 November 2026 have none."""


class OtherLayout(SetupError):
    """Another release wrote a row in a form that cannot be read as a record of this one."""


def _ratio_of_characters(pair: Row) -> float:
    """Return about what the ratio of tokens was, which nobody counted then."""
    chosen = len(pair["chosen_cot"]) + len(pair["chosen_response"])
    rejected = len(pair["rejected_cot"]) + len(pair["rejected_response"])
    return chosen / max(1, rejected)


_ADDED: Mapping[type[BaseModel], Mapping[str, Callable[[Row], Any]]] = {
    # Since 29 November 2026.
    BeliefCandidate: {"left_out": lambda _: ""},
    BeliefExample: {"prompt": lambda _: ""},
    PreferencePair: {
        "length_ratio": _ratio_of_characters,
        # Since 21 November 2026, in the evening. Until then no pair was on needless refusal.
        "kind": lambda _: "violation",
        "chosen_scores": lambda _: (),
        "rejected_scores": lambda _: (),
        "candidates": lambda _: (),
        "examples": lambda _: (),
        "plain_scores": lambda _: (),
    },
}
"""What an older row has in a column that it lacks, where its record has no default."""
_UNKNOWN: Mapping[type[BaseModel], frozenset[str]] = {
    # Since 21 November 2026, in the evening: nobody graded before, or told kinds of prompts.
    PreferencePair: frozenset(
        {"prompt_kind", "chosen_score", "rejected_score", "margin"}
    ),
    FineTuneRow: frozenset({"prompt_kind"}),
}
"""Columns of which nothing true can be said for a row that lacks them."""
_TABLES: Mapping[type[BaseModel], str] = {
    **{definition.record: str(name) for name, definition in STAGES.items()},
    TriedBelief: BELIEF_CANDIDATES,
}


def to_record(row: Row, record_class: type[R]) -> R:
    """Return a row of the lake as a record, whatever release wrote it.

    Raises:
        OtherLayout: it cannot be read as one; says what to run.
    """
    try:
        return record_class.model_validate(row)
    # Only rows of another release get here, so that the others pay nothing.
    except ValidationError:
        completed = _complete(row, record_class)
    try:
        return record_class.model_validate(completed)
    except ValidationError as error:
        raise OtherLayout(_explain(row, record_class, error)) from error


def require_known_layout(place: str, metadata: Mapping[str, str]) -> None:
    """Refuse a file of a later release.

    Args:
        place: its path, for the message.
        metadata: of the Parquet file.

    Raises:
        OtherLayout: a later release wrote it.
    """
    written = metadata.get(LAYOUT_KEY, "0")
    if not written.isdecimal() or int(written) > LAYOUT:
        raise OtherLayout(
            f"{place}: a later release of aidsafe wrote it (layout {written}; this one knows "
            f"layouts up to {LAYOUT}). Use that release; nothing was changed"
        )


def _complete(row: Row, record_class: type[BaseModel]) -> dict[str, Any]:
    """Return the row with what it lacks, at every depth."""
    added = _ADDED.get(record_class, {})
    completed = {}
    for name, value in row.items():
        field = record_class.model_fields.get(name)
        inner = _record_within(field.annotation) if field else None
        if inner is not None and value is not None:
            completed[name] = _complete_inner(value, inner)
        # Beside newer files, a column that an older one lacks is read as null.
        elif value is not None or (field and _may_be_null(field.annotation)):
            completed[name] = value
    for name, value_for in added.items():
        if name not in completed:
            completed[name] = value_for(row)
    return completed


def _complete_inner(value: Any, record_class: type[BaseModel]) -> Any:
    if isinstance(value, Mapping):
        return _complete(value, record_class)
    return [_complete(item, record_class) for item in value]


def _record_within(annotation: Any) -> type[BaseModel] | None:
    """Return the record class in a field's type, as in `tuple[Thought, ...]`; None without one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        inner = _record_within(argument)
        if inner is not None:
            return inner
    return None


def _may_be_null(annotation: Any) -> bool:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return is_union and type(None) in typing.get_args(annotation)


def _explain(row: Row, record_class: type[BaseModel], error: ValidationError) -> str:
    batch = row.get("batch") or "BATCH"
    table = _TABLES.get(record_class, record_class.__name__)
    place = f"batch '{batch}', file {table}/batch={batch}/rows.parquet of the lake"
    if record_class is Failure:
        stage = row.get("stage") or "STAGE"
        place = (
            f"batch '{batch}', file {stage}/batch={batch}/failures.parquet of the lake"
        )
    fields = {".".join(map(str, item["loc"])) for item in error.errors()}
    unknown = sorted(fields & _UNKNOWN.get(record_class, frozenset()))
    if unknown and set(unknown) == fields:
        return (
            f"{place}: an early release wrote it, which did not know {', '.join(unknown)}. "
            f"`aidsafe backfill {batch}` makes the batch again, and the journal answers what is "
            "asked as before; with --keep-recipe, what can be read stays as it is"
        )
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    later = {"extra_forbidden", "literal_error", "enum"}
    if later & {item["type"] for item in error.errors()}:
        return (
            f"{place}: a later release of aidsafe wrote it, or something else "
            f"({where}: {first['msg']}). Use the release that wrote it, or make the batch again "
            f"with this one: `aidsafe backfill {batch}`"
        )
    return (
        f"{place}: its rows do not fit this release ({where}: {first['msg']}). "
        f"`aidsafe backfill {batch}` makes the batch again"
    )
