"""What is measured on each row of a stage: a flat frame of plain columns, one line per row, in the order of the rows.

Great Expectations reads this frame and never the texts, so it stays small. A null where a number is due means that the
row lacks the text, and the suites do not let a null pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.quality.agent_talk import agent_talk
from aidsafe_dagster.quality.coverage import citations
from aidsafe_dagster.quality.tokens import TokenCounter
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import METRICS, Stage

KEYS = ("prompt_id", "batch", "source", "source_row", "licence")
_MADE = (*KEYS, "simulated")


@dataclass(frozen=True)
class _Given:
    rows: pl.DataFrame
    policies: Policies
    counter: TokenCounter

    def tokens(self, column: str, name: str) -> pl.Series:
        """Tokens of each text of a column, null where the text is."""
        counts = [None if text is None else self.counter(text) for text in self.rows[column]]
        return pl.Series(name, counts, dtype=pl.Int64)


def metrics_of(
    stage: str, rows: pl.DataFrame, policies: Policies, counter: TokenCounter
) -> pl.DataFrame:
    """The metric frame of a stage's rows. Token columns count tokens, `*_ratio` are shares, lists are joined text.

    Raises:
        SetupError: there is no such stage.
    """
    if stage not in _METRICS:
        raise unknown("stage", stage, map(str, _METRICS), "quality checks")
    return _METRICS[Stage(stage)](_Given(rows, policies, counter))


def _prompts(given: _Given) -> pl.DataFrame:
    return given.rows.select(*KEYS, given.tokens("prompt", "prompt_tokens"), _blank("prompt"))


def _seed_cots(given: _Given) -> pl.DataFrame:
    table = given.rows.select(
        *_MADE,
        "cot_tokens",
        given.tokens("response", "response_tokens"),
        pl.col("thoughts").list.len().cast(pl.Int64),
        (_blank("prompt", "response") + _blank_thoughts()).alias("blank_texts"),
    )
    return pl.concat([table, _coverage(given)], how="horizontal")


def _deliberated_cots(given: _Given) -> pl.DataFrame:
    turns = given.rows.select(pl.col("turns").list.len().cast(pl.Int64), "outcome", "stalled")
    return pl.concat([_seed_cots(given), turns], how="horizontal")


def _refined_cots(given: _Given) -> pl.DataFrame:
    texts = given.rows.select("prompt", _cot().alias("cot"), "response")
    refined = given.rows.select(
        "deliberated_cot_tokens",
        (pl.col("cot_tokens") / pl.max_horizontal("deliberated_cot_tokens", 1)).alias(
            "refined_ratio"
        ),
        "rests_on_dropped",
        _talk(texts, "cot", "response"),
    )
    return pl.concat([_seed_cots(given), refined], how="horizontal")


def _cot_grades(given: _Given) -> pl.DataFrame:
    of_refined = (
        pl.col("grades").list.eval(pl.element().struct.field("version") == "refined").list.sum()
    )
    return given.rows.select(
        *_MADE,
        "policy_score",
        of_refined.cast(pl.Int64).alias("refined_grades"),
        *(_lowest(metric).alias(f"{metric}_lowest") for metric in METRICS),
        *(_highest(metric).alias(f"{metric}_highest") for metric in METRICS),
        pl.col("ungraded").list.len().cast(pl.Int64),
        _blank("prompt"),
    )


def _lowest(metric: str) -> pl.Expr:
    return (
        pl.col("grades")
        .list.eval(pl.element().struct.field(metric).struct.field("score"))
        .list.min()
    )


def _highest(metric: str) -> pl.Expr:
    return (
        pl.col("grades")
        .list.eval(pl.element().struct.field(metric).struct.field("score"))
        .list.max()
    )


def _preference_pairs(given: _Given) -> pl.DataFrame:
    same = (pl.col("chosen_cot") == pl.col("rejected_cot")) & (
        pl.col("chosen_response") == pl.col("rejected_response")
    )
    return given.rows.select(
        *_MADE,
        "chosen_cot_tokens",
        "rejected_cot_tokens",
        given.tokens("chosen_response", "chosen_response_tokens"),
        given.tokens("rejected_response", "rejected_response_tokens"),
        "similarity",
        "margin",
        same.alias("same_text"),
        _blank(
            "prompt", "belief", "chosen_cot", "chosen_response", "rejected_cot", "rejected_response"
        ),
        _talk(given.rows, "chosen_cot", "chosen_response"),
    )


def _fine_tune_splits(given: _Given) -> pl.DataFrame:
    sft = pl.col("kind") == "sft"
    said = pl.when(sft).then(_last("messages")).otherwise(_last("chosen"))
    asked = pl.when(sft).then(_first("messages")).otherwise(_first("prompt"))
    told = pl.format("<think>\n{}\n</think>\n\n{}", "thinking", "response")
    return given.rows.select(
        *_MADE,
        "kind",
        "split",
        pl.format("{}/{}", "prompt_id", "kind").alias("row_key"),
        pl.col("split").n_unique().over("prompt_id").cast(pl.Int64).alias("splits_of_prompt"),
        given.tokens("thinking", "thinking_tokens"),
        given.tokens("response", "response_tokens"),
        (said == told).fill_null(value=False).alias("turn_is_whole"),
        pl.when(sft).then(False).otherwise(said == _last("rejected")).alias("same_text"),
        _blank("thinking", "response"),
        _talk(
            given.rows.select(asked.alias("prompt"), "thinking", "response"), "thinking", "response"
        ),
    )


_METRICS: Mapping[Stage, Callable[[_Given], pl.DataFrame]] = {
    Stage.PROMPTS: _prompts,
    Stage.SINGLE_LLM_COTS: _seed_cots,
    Stage.SEED_COTS: _seed_cots,
    Stage.DELIBERATED_COTS: _deliberated_cots,
    Stage.REFINED_COTS: _refined_cots,
    Stage.COT_GRADES: _cot_grades,
    Stage.PREFERENCE_PAIRS: _preference_pairs,
    Stage.FINE_TUNE_SPLITS: _fine_tune_splits,
}


def _blank(*columns: str) -> pl.Expr:
    """Number of these texts that are null or white space."""
    blank = [
        (pl.col(c).is_null() | (pl.col(c).str.strip_chars() == "")).cast(pl.Int64) for c in columns
    ]
    return pl.sum_horizontal(blank).alias("blank_texts")


def _blank_thoughts() -> pl.Expr:
    """Number of thoughts without text; no thoughts at all count as one."""
    text = pl.element().struct.field("text")
    blank = (
        pl.col("thoughts")
        .list.eval(text.is_null() | (text.str.strip_chars() == ""))
        .list.sum()
        .cast(pl.Int64)
    )
    return pl.when(pl.col("thoughts").list.len() > 0).then(blank).otherwise(1)


def _cot() -> pl.Expr:
    return (
        pl.col("thoughts")
        .list.eval(pl.element().struct.field("text"))
        .list.join("\n\n", ignore_nulls=True)
    )


def _coverage(given: _Given) -> pl.DataFrame:
    """Rules cited and unknown, policies applicable and uncovered, per row."""
    known = pl.col("rule").is_in(list(given.policies.rule_ids))
    cited = (
        citations(given.rows)
        .group_by("row")
        .agg(
            pl.col("rule").n_unique().cast(pl.Int64).alias("cited_rules"),
            pl.col("rule").filter(~known).n_unique().cast(pl.Int64).alias("unknown_rules"),
            pl.col("rule")
            .filter(~known)
            .unique(maintain_order=True)
            .str.join(", ")
            .alias("unknown"),
            pl.col("policy").filter(known).unique().alias("covered"),
        )
    )
    lines = given.rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "applicable_policies", "thoughts"
    )
    joined = lines.join(cited, on="row", how="left", maintain_order="left").with_columns(
        pl.col("cited_rules", "unknown_rules").fill_null(0),
        pl.col("unknown").fill_null(""),
        pl.col("covered").fill_null(pl.lit([], dtype=pl.List(pl.String))),
    )
    missing = pl.col("applicable_policies").list.set_difference("covered")
    return joined.select(
        _of_thoughts("cited_rules"),
        _of_thoughts("unknown_rules"),
        "unknown",
        pl.col("applicable_policies").list.len().cast(pl.Int64).alias("applicable"),
        missing.list.len().cast(pl.Int64).alias("uncovered_policies"),
        missing.list.sort().list.join(", ").alias("uncovered"),
    )


def _of_thoughts(column: str) -> pl.Expr:
    """Null where the row has no list of thoughts to count in."""
    return pl.when(pl.col("thoughts").is_not_null()).then(pl.col(column)).alias(column)


def _talk(texts: pl.DataFrame, *columns: str) -> pl.Series:
    """What a row's texts say of their making, beyond what its prompt says; empty if nothing."""
    said = [
        next((talk for text in row[1:] if (talk := agent_talk(text or "", row[0] or ""))), "")
        for row in texts.select("prompt", *columns).iter_rows()
    ]
    return pl.Series("agent_talk", said, dtype=pl.String)


def _first(messages: str) -> pl.Expr:
    return pl.col(messages).list.first().struct.field("content")


def _last(messages: str) -> pl.Expr:
    return pl.col(messages).list.last().struct.field("content")
