"""Row metrics: a flat frame of plain columns, with one line per row of a stage, in their order.

Great Expectations reads this frame and never the texts, so the frame stays small. A null in place
of a number means that the row lacks the text, and the suites let no null pass.
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
_LABELS = (*KEYS, "simulated")


@dataclass(frozen=True)
class _StageRows:
    rows: pl.DataFrame
    policies: Policies
    counter: TokenCounter

    def tokens(self, column: str, name: str) -> pl.Series:
        """Count the tokens of each text of a column; null for a null text."""
        counts = list[int | None]()
        for text in self.rows[column]:
            counts.append(None if text is None else self.counter(text))
        return pl.Series(name, counts, dtype=pl.Int64)


def row_metrics(
    stage: str, rows: pl.DataFrame, policies: Policies, counter: TokenCounter
) -> pl.DataFrame:
    """Return the metric frame of a stage's rows.

    Token columns count tokens, `*_ratio` are ratios, and lists are joined texts.

    Raises:
        SetupError: there is no such stage.
    """
    if stage not in _METRICS:
        raise unknown("stage", stage, map(str, _METRICS), "quality checks")
    return _METRICS[Stage(stage)](_StageRows(rows, policies, counter))


def _prompts(stage: _StageRows) -> pl.DataFrame:
    tokens = stage.tokens("prompt", "prompt_tokens")
    return stage.rows.select(*KEYS, tokens, _blank("prompt"))


def _seed_cots(stage: _StageRows) -> pl.DataFrame:
    table = stage.rows.select(
        *_LABELS,
        "cot_tokens",
        stage.tokens("response", "response_tokens"),
        pl.col("thoughts").list.len().cast(pl.Int64),
        (_blank("prompt", "response") + _blank_thoughts()).alias("blank_texts"),
    )
    return pl.concat([table, _coverage(stage)], how="horizontal")


def _deliberated_cots(stage: _StageRows) -> pl.DataFrame:
    turn_count = pl.col("turns").list.len().cast(pl.Int64)
    turns = stage.rows.select(turn_count, "outcome", "stalled")
    return pl.concat([_seed_cots(stage), turns], how="horizontal")


def _refined_cots(stage: _StageRows) -> pl.DataFrame:
    texts = stage.rows.select("prompt", _cot().alias("cot"), "response")
    ratio = pl.col("cot_tokens") / pl.max_horizontal("deliberated_cot_tokens", 1)
    refined = stage.rows.select(
        "deliberated_cot_tokens",
        ratio.alias("refined_ratio"),
        "rests_on_dropped",
        _agent_talk(texts, "cot", "response"),
    )
    return pl.concat([_seed_cots(stage), refined], how="horizontal")


def _cot_grades(stage: _StageRows) -> pl.DataFrame:
    is_refined = pl.element().struct.field("version") == "refined"
    refined_grades = pl.col("grades").list.eval(is_refined).list.sum()
    lowest, highest = [], []
    for metric in METRICS:
        scores = _scores(metric)
        lowest.append(scores.list.min().alias(f"{metric}_lowest"))
        highest.append(scores.list.max().alias(f"{metric}_highest"))
    return stage.rows.select(
        *_LABELS,
        "policy_score",
        refined_grades.cast(pl.Int64).alias("refined_grades"),
        *lowest,
        *highest,
        pl.col("ungraded").list.len().cast(pl.Int64),
        _blank("prompt"),
    )


def _scores(metric: str) -> pl.Expr:
    """The scores that the judges gave for one metric."""
    score = pl.element().struct.field(metric).struct.field("score")
    return pl.col("grades").list.eval(score)


def _preference_pairs(stage: _StageRows) -> pl.DataFrame:
    same_cot = pl.col("chosen_cot") == pl.col("rejected_cot")
    same_response = pl.col("chosen_response") == pl.col("rejected_response")
    return stage.rows.select(
        *_LABELS,
        "chosen_cot_tokens",
        "rejected_cot_tokens",
        stage.tokens("chosen_response", "chosen_response_tokens"),
        stage.tokens("rejected_response", "rejected_response_tokens"),
        "similarity",
        "margin",
        (same_cot & same_response).alias("same_text"),
        _blank(
            "prompt", "belief", "chosen_cot", "chosen_response", "rejected_cot", "rejected_response"
        ),
        _agent_talk(stage.rows, "chosen_cot", "chosen_response"),
    )


def _fine_tune_splits(stage: _StageRows) -> pl.DataFrame:
    sft = pl.col("kind") == "sft"
    answer = pl.when(sft).then(_last("messages")).otherwise(_last("chosen"))
    prompt = pl.when(sft).then(_first("messages")).otherwise(_first("prompt"))
    whole_turn = pl.format("<think>\n{}\n</think>\n\n{}", "thinking", "response")
    same_text = answer == _last("rejected")
    splits = pl.col("split").n_unique().over("prompt_id")
    texts = stage.rows.select(prompt.alias("prompt"), "thinking", "response")
    return stage.rows.select(
        *_LABELS,
        "kind",
        "split",
        pl.format("{}/{}", "prompt_id", "kind").alias("row_key"),
        splits.cast(pl.Int64).alias("splits_of_prompt"),
        stage.tokens("thinking", "thinking_tokens"),
        stage.tokens("response", "response_tokens"),
        (answer == whole_turn).fill_null(value=False).alias("turn_is_whole"),
        pl.when(sft).then(False).otherwise(same_text).alias("same_text"),
        _blank("thinking", "response"),
        _agent_talk(texts, "thinking", "response"),
    )


_METRICS: Mapping[Stage, Callable[[_StageRows], pl.DataFrame]] = {
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
    """Count these texts that are null or white space."""
    flags = []
    for column in columns:
        text = pl.col(column)
        is_blank = text.is_null() | (text.str.strip_chars() == "")
        flags.append(is_blank.cast(pl.Int64))
    return pl.sum_horizontal(flags).alias("blank_texts")


def _blank_thoughts() -> pl.Expr:
    """Count the thoughts without text; a row without thoughts counts as one."""
    text = pl.element().struct.field("text")
    is_blank = text.is_null() | (text.str.strip_chars() == "")
    thoughts = pl.col("thoughts")
    blank = thoughts.list.eval(is_blank).list.sum().cast(pl.Int64)
    return pl.when(thoughts.list.len() > 0).then(blank).otherwise(1)


def _cot() -> pl.Expr:
    text = pl.element().struct.field("text")
    texts = pl.col("thoughts").list.eval(text)
    return texts.list.join("\n\n", ignore_nulls=True)


def _coverage(stage: _StageRows) -> pl.DataFrame:
    """Return per row the cited and unknown rules, and the applicable and uncovered policies."""
    is_known = pl.col("rule").is_in(list(stage.policies.rule_ids))
    unknown_rules = pl.col("rule").filter(~is_known)
    cited = (
        citations(stage.rows)
        .group_by("row")
        .agg(
            pl.col("rule").n_unique().cast(pl.Int64).alias("cited_rules"),
            unknown_rules.n_unique().cast(pl.Int64).alias("unknown_rules"),
            unknown_rules.unique(maintain_order=True).str.join(", ").alias("unknown"),
            pl.col("policy").filter(is_known).unique().alias("covered"),
        )
    )
    # A left join: rows without citations must stay.
    index = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    lines = stage.rows.select(index, "applicable_policies", "thoughts")
    joined = lines.join(cited, on="row", how="left", maintain_order="left").with_columns(
        pl.col("cited_rules", "unknown_rules").fill_null(0),
        pl.col("unknown").fill_null(""),
        pl.col("covered").fill_null(pl.lit([], dtype=pl.List(pl.String))),
    )
    missing = pl.col("applicable_policies").list.set_difference("covered")
    return joined.select(
        _null_without_thoughts("cited_rules"),
        _null_without_thoughts("unknown_rules"),
        "unknown",
        pl.col("applicable_policies").list.len().cast(pl.Int64).alias("applicable"),
        missing.list.len().cast(pl.Int64).alias("uncovered_policies"),
        missing.list.sort().list.join(", ").alias("uncovered"),
    )


def _null_without_thoughts(column: str) -> pl.Expr:
    """Make a count null if the row has no list of thoughts."""
    has_thoughts = pl.col("thoughts").is_not_null()
    return pl.when(has_thoughts).then(pl.col(column)).alias(column)


def _agent_talk(rows: pl.DataFrame, *columns: str) -> pl.Series:
    """Return the first agent talk in a row's texts; empty if there is none."""
    phrases = list[str]()
    for prompt, *texts in rows.select("prompt", *columns).iter_rows():
        matches = (agent_talk(text or "", prompt or "") for text in texts)
        phrases.append(next(filter(None, matches), ""))
    return pl.Series("agent_talk", phrases, dtype=pl.String)


def _first(messages: str) -> pl.Expr:
    return pl.col(messages).list.first().struct.field("content")


def _last(messages: str) -> pl.Expr:
    return pl.col(messages).list.last().struct.field("content")
