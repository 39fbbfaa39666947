"""Everything that somebody wrote in the rows of a table, with its place: the column.

The columns follow from the table, so a stage of your own is searched like the others.
"""

from typing import Any

import polars as pl

from aidsafe_dagster.lake.translations import is_translation_table, language_name_of
from aidsafe_dagster.sources.tables import INGESTED

TEXTS_SCHEMA = pl.Schema(
    {"prompt_id": pl.String(), "place": pl.String(), "text": pl.String()}
)
FAILURE_PLACE = "failure"
_SEPARATOR = "\x1e"
_NOT_WRITTEN = frozenset(
    {
        # Who, where from and under what; ids are looked up, not searched.
        "prompt_id", "batch", "source", "source_row", "category", "licence",
        "cluster", "near_clusters",
        # Of other prompts, and what is a word of a few.
        "derivation",
        "engine", "model", "target_model", "servers", "policies_version", "templates_version",
        "recipe", "mixed_with", "simulated", "stamp",
        # The exchange repeats what the other columns hold, and the policies in every row.
        "conversation",
        # So do the turns of a row for training.
        "messages", "chosen", "rejected",
        # Of other prompts.
        "examples",
        # One of a few words, each a filter.
        "kind", "prompt_kind", "applicable_policies", "outcome", "belief_position", "left_out",
        "split", "rules", "agent", "verdict", "harm", "policies", "judge", "refusal", "version",
        "against", "speaker", "rule", "role",
        # Of a translation.
        "language", "translated_from", "translation_id", "original",
    }
)  # fmt: skip


def is_searched(column: str) -> bool:
    """Tell whether a column holds text that somebody wrote, or ids of the user's own."""
    return column not in _NOT_WRITTEN


def texts_of(rows: pl.DataFrame, table: str) -> pl.DataFrame:
    """Return a line for each text in these rows: prompt id, place, text."""
    stage = "prompts" if table == INGESTED else table
    columns = {}
    for name, dtype in rows.schema.items():
        # The same at every stage, though not in every language.
        is_same = name == "own_id" or not is_translation_table(table)
        if name in ("prompt", "own_id", "earlier") and is_same and table != INGESTED:
            continue
        joined = _joined(dtype, pl.col(name)) if is_searched(name) else None
        if joined is not None:
            columns[f"{stage} {name}"] = joined.str.split(_SEPARATOR)
    if not columns:
        return pl.DataFrame(schema=TEXTS_SCHEMA)
    texts = rows.lazy().select("prompt_id", **columns)
    lines = texts.unpivot(
        index="prompt_id", variable_name="place", value_name="text"
    ).explode("text")
    return lines.filter(pl.col("text").str.len_bytes() > 0).collect()


def place_in_words(place: str) -> str:
    """Return places, separated by commas, as they are shown: without underscores."""
    words = []
    for one in place.split(", "):
        table, _, column = one.partition(" ")
        column = column.replace("_", " ")
        if is_translation_table(table):
            words.append(f"translation into {language_name_of(table)}: {column}")
        else:
            words.append(f"{table.replace('_', ' ')} {column}")
    return ", ".join(words)


def failure_texts(failures: pl.DataFrame) -> pl.DataFrame:
    """Return a line for each failure: its detail, with the stage as its place."""
    place = pl.concat_str("stage", pl.lit(f" {FAILURE_PLACE}"))
    return failures.select("prompt_id", place=place, text="detail")


def _joined(dtype: pl.DataType, column: pl.Expr) -> pl.Expr | None:
    """Return all texts within a column, joined; None if there is none in it."""
    if isinstance(dtype, pl.String):
        return column
    if isinstance(dtype, pl.List):
        inner = _joined(_inner(dtype), pl.element())
        if inner is None:
            return None
        return column.list.eval(inner).list.join(_SEPARATOR, ignore_nulls=True)
    if isinstance(dtype, pl.Struct):
        parts = []
        for field in dtype.fields:
            part = None
            if field.name not in _NOT_WRITTEN:
                part = _joined(_instance(field.dtype), column.struct.field(field.name))
            if part is not None:
                parts.append(part)
        if parts:
            return pl.concat_str(parts, separator=_SEPARATOR, ignore_nulls=True)
    return None


def _inner(dtype: pl.List) -> pl.DataType:
    return _instance(dtype.inner)


def _instance(dtype: Any) -> pl.DataType:
    # A type without parameters may stand for itself as a class.
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance
