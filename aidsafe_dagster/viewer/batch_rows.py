"""What the viewer knows of each prompt of a batch: what to filter by, and every text to search.

One row per prompt, gathered from all tables of the lake.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.lake.translations import is_translation_table, translation_tables
from aidsafe_dagster.quality.languages import identify_language
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    EXCLUSION_REASONS,
    METRICS,
    Prompt,
    Record,
    Stage,
    TriedBelief,
)
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.recipe.translation import TranslatedRow
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.viewer.folding import folded
from aidsafe_dagster.viewer.row_texts import (
    TEXTS_SCHEMA,
    failure_texts,
    texts_of,
)

SCORES = ("policy_score", *METRICS)
"""What a prompt is scored by: means of the judges, of the refined version."""
ROW_SCHEMA = pl.Schema(
    {
        "prompt_id": pl.String(),
        "batch": pl.String(),
        "place": pl.Int64(),
        "source": pl.String(),
        "source_row": pl.String(),
        "own_id": pl.String(),
        "category": pl.String(),
        "licence": pl.String(),
        "prompt": pl.String(),
        "language": pl.String(),
        "stage": pl.String(),
        "state": pl.String(),
        "prompt_kind": pl.String(),
        "pair_kind": pl.String(),
        "outcome": pl.String(),
        "refusal": pl.String(),
        "policies": pl.List(pl.String()),
        "verdicts": pl.List(pl.String()),
        "reasons": pl.List(pl.String()),
        "failed_stages": pl.List(pl.String()),
        "splits": pl.List(pl.String()),
        "translated_into": pl.List(pl.String()),
        "translation_ids": pl.List(pl.String()),
        **dict.fromkeys(SCORES, pl.Float64()),
        "margin": pl.Float64(),
        "candidates": pl.Int64(),
        "calls": pl.Int64(),
        "tokens_out": pl.Int64(),
        "cost": pl.Float64(),
        "simulated": pl.Boolean(),
        "models": pl.List(pl.String()),
        "texts": pl.List(pl.Struct({"place": pl.String(), "text": pl.String()})),
        "folded": pl.String(),
        "stamp": pl.String(),
    }
)
_ORIGIN = ["source", "source_row", "own_id", "category", "licence"]
_COT_STAGES = (Stage.REFINED_COTS, Stage.DELIBERATED_COTS, Stage.SEED_COTS)
"""The one furthest on first."""
_SURE_SHARE = 0.9
_LEAST_LETTERS = 12
"""Of a prompt whose language is looked for."""
UNKNOWN_LANGUAGE = "unknown"


@dataclass
class BatchTables:
    """The tables of one batch, without the conversations, which are most of a file."""

    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    failures: dict[str, pl.DataFrame] = field(default_factory=dict)
    translations: dict[str, pl.DataFrame] = field(default_factory=dict)
    """By their original's id, with their own as `translation_id`."""
    untranslated: dict[str, pl.DataFrame] = field(default_factory=dict)
    """Translations that failed: their originals are none the worse."""
    problems: list[str] = field(default_factory=list)
    """Partitions that cannot be read, with the reason."""

    def columns(self, table: str, *names: str) -> pl.DataFrame | None:
        """Return columns as this release knows them; None if the table has no rows."""
        frame = self.rows.get(table)
        if frame is None or not frame.height:
            return None
        schema = schema_of(_record_of(table))
        wanted = {name: schema[name] for name in ("prompt_id", *names)}
        return frame.match_to_schema(
            wanted,
            missing_columns="insert",
            missing_struct_fields="insert",
            extra_columns="ignore",
            extra_struct_fields="ignore",
        )


def read_tables(lake: Lake, batch: str) -> BatchTables:
    """Read what there is of a batch."""
    tables = BatchTables()
    for table in (INGESTED, *STAGES, BELIEF_CANDIDATES, *translation_tables(lake)):
        fields = _record_of(table).model_fields
        columns = [name for name in fields if name != "conversation"]
        try:
            if lake.has(table, batch):
                tables.rows[table] = lake.rows(table, batch, columns)
            if table in STAGES or is_translation_table(table):
                failures = lake.failures(table, batch)
                if failures.height:
                    tables.failures[table] = failures
        except SetupError as error:
            # The other tables may well be readable.
            tables.problems.append(str(error))
    return _apart(tables)


def _apart(tables: BatchTables) -> BatchTables:
    """Part translations from what the stages made, and let them stand for their originals."""
    for table in [name for name in tables.rows if is_translation_table(name)]:
        rows = tables.rows.pop(table)
        own_id = rows["prompt_id"].alias("translation_id")
        rows = rows.with_columns(own_id, prompt_id="translated_from")
        tables.translations[table] = rows
    for table in [name for name in tables.failures if is_translation_table(name)]:
        tables.untranslated[table] = tables.failures.pop(table)
    return tables


def batch_rows(tables: BatchTables, batch: str, stamp: str = "") -> pl.DataFrame:
    """Return a row for each prompt of a batch, as in `ROW_SCHEMA`."""
    prompts = _prompts(tables, batch)
    parts = [
        _languages(prompts),
        *_verdicts(tables),
        *_scores(tables),
        *_pairs(tables),
        *_splits(tables),
        _translations(tables),
        _costs(tables),
        _progress(tables),
        _failures(tables),
        _texts(tables),
    ]
    rows = reduce(_join, parts, prompts)
    rows = rows.with_columns(
        state=_state(), stamp=pl.lit(stamp), prompt_kind=_prompt_kind(rows)
    )
    return rows.match_to_schema(
        ROW_SCHEMA, missing_columns="insert", extra_columns="ignore"
    )


def _join(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    return left.join(right, on="prompt_id", how="left", maintain_order="left")


def _record_of(table: str) -> type[Record]:
    if table == BELIEF_CANDIDATES:
        return TriedBelief
    if is_translation_table(table):
        return TranslatedRow
    return Prompt if table == INGESTED else STAGES[table].record


def _prompts(tables: BatchTables, batch: str) -> pl.DataFrame:
    """Return the prompts in the order of their source, and then any that are only in a stage."""
    schema = {"prompt_id": pl.String(), "prompt": pl.String()}
    schema |= dict.fromkeys(_ORIGIN, pl.String())
    frames = [pl.DataFrame(schema=schema)]
    for table in tables.rows:
        names = list(_ORIGIN)
        if table != Stage.FINE_TUNE_SPLITS:
            names.append("prompt")
        columns = tables.columns(table, *names)
        if columns is not None:
            frames.append(columns)
    for failures in tables.failures.values():
        frames.append(failures.select("prompt_id"))
    prompts = pl.concat(frames, how="diagonal").unique(
        "prompt_id", keep="first", maintain_order=True
    )
    numbered = prompts.with_row_index("place")
    return numbered.with_columns(pl.col("place").cast(pl.Int64), batch=pl.lit(batch))


def _languages(prompts: pl.DataFrame) -> pl.DataFrame:
    languages = [_language(text or "") for text in prompts["prompt"]]
    return prompts.select("prompt_id", language=pl.Series(languages, dtype=pl.String))


def _language(text: str) -> str:
    """Return the language that a text is surely in; of a few words nobody can be sure."""
    letters = sum(3 if letter > "\u2e80" else 1 for letter in text if letter.isalpha())
    if letters < _LEAST_LETTERS:
        return UNKNOWN_LANGUAGE
    likeliest = next(iter(identify_language(text).items()), ("", 0.0))
    return likeliest[0] if likeliest[1] >= _SURE_SHARE else UNKNOWN_LANGUAGE


def _verdicts(tables: BatchTables) -> list[pl.DataFrame]:
    parts = []
    judged = tables.columns(Stage.REFINED_COTS, "judgements")
    if judged is not None:
        verdicts = pl.col("judgements").list.eval(pl.element().struct.field("verdict"))
        # Each as often as it was given, so that a page can count them.
        parts.append(judged.select("prompt_id", verdicts=verdicts))
    deliberated = tables.columns(Stage.DELIBERATED_COTS, "outcome", "stalled")
    if deliberated is not None:
        outcome = (
            pl.when(pl.col("stalled")).then(pl.lit("stalled")).otherwise("outcome")
        )
        parts.append(deliberated.select("prompt_id", outcome=outcome))
    cited = []
    for stage in _COT_STAGES:
        thoughts = tables.columns(stage, "thoughts")
        if thoughts is not None:
            cited.append(thoughts.select("prompt_id", policies=_cited_policies()))
    if cited:
        furthest = pl.concat(cited).unique(
            "prompt_id", keep="first", maintain_order=True
        )
        parts.append(furthest)
    return parts


def _cited_policies() -> pl.Expr:
    rules = pl.element().struct.field("rules").list.join("\x1e", ignore_nulls=True)
    joined = pl.col("thoughts").list.eval(rules).list.join("\x1e", ignore_nulls=True)
    # A rule is '<policy>.<number>'.
    policy = pl.element().str.replace(r"\.[^.]*$", "")
    policies = joined.str.split("\x1e").list.eval(policy).list.unique().list.sort()
    return policies.list.eval(pl.element().filter(pl.element() != ""))


def _scores(tables: BatchTables) -> list[pl.DataFrame]:
    graded = tables.columns(Stage.COT_GRADES, "prompt_kind", "policy_score", "grades")
    if graded is None:
        return []
    grade = pl.element()
    refined = pl.col("grades").list.eval(
        grade.filter(grade.struct.field("version") == "refined")
    )
    columns = []
    for metric in METRICS:
        score = pl.element().struct.field(metric).struct.field("score")
        columns.append(refined.list.eval(score).list.mean().alias(metric))
    refusals = refined.list.eval(pl.element().struct.field("refusal"))
    return [
        graded.select(
            "prompt_id",
            "policy_score",
            *columns,
            graded_kind="prompt_kind",
            refusal=refusals.list.first(),
        )
    ]


def _pairs(tables: BatchTables) -> list[pl.DataFrame]:
    parts = []
    pairs = tables.columns(Stage.PREFERENCE_PAIRS, "kind", "margin")
    if pairs is not None:
        parts.append(pairs.select("prompt_id", "margin", pair_kind="kind"))
    tried = tables.columns(BELIEF_CANDIDATES, "prompt_kind")
    if tried is not None:
        kind = pl.col("prompt_kind").first()
        counts = tried.group_by("prompt_id").agg(
            candidates=pl.len().cast(pl.Int64), tried_kind=kind
        )
        parts.append(counts)
    return parts


def _splits(tables: BatchTables) -> list[pl.DataFrame]:
    rows = tables.columns(Stage.FINE_TUNE_SPLITS, "kind", "split")
    if rows is None:
        return []
    named = rows.select("prompt_id", split=pl.col("split") + " " + pl.col("kind"))
    names = pl.col("split").unique().sort()
    return [named.group_by("prompt_id").agg(splits=names)]


def _translations(tables: BatchTables) -> pl.DataFrame:
    """Return the languages that there is a translation into, and the ids of those."""
    columns = ("prompt_id", "language", "translation_id")
    frames = [pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))]
    for rows in tables.translations.values():
        frames.append(rows.select(columns))
    return (
        pl.concat(frames)
        .group_by("prompt_id")
        .agg(
            translated_into=pl.col("language").sort(),
            translation_ids=pl.col("translation_id").sort(),
        )
    )


def _costs(tables: BatchTables) -> pl.DataFrame:
    """Return calls, tokens, money and models of all stages and failures, by prompt."""
    schema: Mapping[str, pl.DataType] = {
        "prompt_id": pl.String(),
        "calls": pl.Int64(),
        "tokens_out": pl.Int64(),
        "cost": pl.Float64(),
        "model": pl.String(),
        "simulated": pl.Boolean(),
    }
    frames = [pl.DataFrame(schema=schema)]
    usage = pl.col("usage").struct
    counts = {
        "calls": usage.field("calls"),
        "tokens_out": usage.field("completion_tokens"),
        "cost": usage.field("cost"),
    }
    for stage, definition in STAGES.items():
        if definition.dialogue is None:
            continue
        rows = tables.columns(stage, "usage", "model", "simulated")
        if rows is not None:
            frames.append(rows.select("prompt_id", "model", "simulated", **counts))
    for rows in tables.translations.values():
        frames.append(rows.select("prompt_id", "model", "simulated", **counts))
    for failures in (*tables.failures.values(), *tables.untranslated.values()):
        aligned = failures.match_to_schema(
            {"prompt_id": pl.String(), "usage": _usage_type()},
            missing_columns="insert",
            missing_struct_fields="insert",
            extra_columns="ignore",
            extra_struct_fields="ignore",
        )
        frames.append(aligned.select("prompt_id", **counts))
    every = pl.concat(frames, how="diagonal")
    return every.group_by("prompt_id").agg(
        pl.col("calls", "tokens_out", "cost").sum(),
        models=pl.col("model").drop_nulls().unique().sort(),
        simulated=pl.col("simulated").fill_null(value=False).any(),
    )


def _usage_type() -> pl.DataType:
    return schema_of(STAGES[Stage.SEED_COTS].record)["usage"]


def _progress(tables: BatchTables) -> pl.DataFrame:
    """Return the last stage that made each prompt's row."""
    frames = [pl.DataFrame(schema={"prompt_id": pl.String(), "stage": pl.String()})]
    # Nothing else rests on an optional stage, so it says nothing of how far a prompt came.
    for stage in always_made():
        rows = tables.columns(stage)
        if rows is not None:
            frames.append(rows.select("prompt_id", stage=pl.lit(str(stage))))
    return pl.concat(frames).unique("prompt_id", keep="last")


def _failures(tables: BatchTables) -> pl.DataFrame:
    schema = {"prompt_id": pl.String(), "stage": pl.String(), "reason": pl.String()}
    frames = [pl.DataFrame(schema=schema)]
    for stage, failures in tables.failures.items():
        if stage in always_made():
            frames.append(failures.select(*schema))
    is_left_out = pl.col("reason").is_in([str(reason) for reason in EXCLUSION_REASONS])
    return (
        pl.concat(frames)
        .group_by("prompt_id", maintain_order=True)
        .agg(
            reasons=pl.col("reason"),
            failed_stages=pl.col("stage"),
            is_failed=(~is_left_out).any(),
        )
    )


def _state() -> pl.Expr:
    """Failed, left out, complete or waiting: what became of a prompt as a whole."""
    is_complete = pl.col("stage") == str(Stage.FINE_TUNE_SPLITS)
    return (
        pl.when(pl.col("is_failed"))
        .then(pl.lit("failed"))
        .when(is_complete & pl.col("reasons").is_null())
        .then(pl.lit("complete"))
        .when(pl.col("reasons").is_not_null())
        .then(pl.lit("left out"))
        .otherwise(pl.lit("waiting"))
    )


def _prompt_kind(rows: pl.DataFrame) -> pl.Expr:
    known = [name for name in ("graded_kind", "tried_kind") if name in rows.columns]
    return pl.coalesce(*known, pl.lit(None, pl.String()))


def _texts(tables: BatchTables) -> pl.DataFrame:
    """Return every text of a prompt once, with the places where it stands, and all of it folded."""
    lines = [pl.DataFrame(schema=TEXTS_SCHEMA)]
    for table, rows in tables.rows.items():
        # The prompts of a batch are those that were ingested, and the same again as a stage.
        if table != Stage.PROMPTS or INGESTED not in tables.rows:
            lines.append(texts_of(rows, table))
    for table, rows in tables.translations.items():
        lines.append(texts_of(rows, table))
    for failures in (*tables.failures.values(), *tables.untranslated.values()):
        lines.append(failure_texts(failures))
    texts = _merge_places(lines)
    by_prompt = texts.group_by("prompt_id", maintain_order=True).agg(
        texts=pl.struct("place", "text"),
        folded=pl.col("text").str.join("\n"),
    )
    return by_prompt.with_columns(folded(by_prompt["folded"]))


def _merge_places(lines: Sequence[pl.DataFrame]) -> pl.DataFrame:
    places = pl.col("place").unique(maintain_order=True).str.join(", ")
    return (
        pl.concat(lines)
        .group_by("prompt_id", "text", maintain_order=True)
        .agg(place=places)
    )
