"""What the suites measure on each row: a flat frame with one line per row, in row order.

Great Expectations reads this frame and never the texts, so it stays small. A null where a number is
expected means that the row lacks the text; the suites do not let a null pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.quality.coverage import citations
from aidsafe_dagster.quality.tokens import TokenCounter
from aidsafe_dagster.recipe.agent_talk import agent_talk
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    CotRow,
    DeliberatedCot,
    FineTuneRow,
    PolicyCounterfactual,
    PreferencePair,
    Prompt,
    Record,
    RefinedCot,
    Row,
)

KEYS = ("prompt_id", "batch", "source", "source_row", "licence")
_KEYS_AND_LABEL = (*KEYS, "simulated")


@dataclass(frozen=True)
class _Inputs:
    rows: pl.DataFrame
    policies: Policies
    counter: TokenCounter

    def tokens(self, column: str, name: str) -> pl.Series:
        """Count the tokens of each text of a column; null where the text is null."""
        counts: list[int | None] = []
        for text in self.rows[column]:
            # A null stays a null, which no suite lets pass. A 0 could be within the bounds.
            count = None if text is None else self.counter(text)
            counts.append(count)
        return pl.Series(name, counts, dtype=pl.Int64)

    def prompt_tokens(self) -> pl.Series:
        """Count the tokens of the prompts, each with the turns before it."""
        own = self.tokens("prompt", "prompt_tokens")
        if "earlier" not in self.rows.columns:
            return own
        before = []
        for turns in self.rows["earlier"].to_list():
            before.append(sum(self.counter(turn["content"]) for turn in turns or ()))
        return own + pl.Series(before, dtype=pl.Int64)


def measure_rows(
    record: type[Record], rows: pl.DataFrame, policies: Policies, counter: TokenCounter
) -> pl.DataFrame:
    """Return the metric frame of a table's rows.

    Token columns count tokens, `*_ratio` columns are shares, lists are joined text. A record class
    without metrics of its own is measured like the nearest class that it inherits from.

    Raises:
        TypeError: the record class is not a row of a table.
    """
    for ancestor in record.__mro__:
        if ancestor in _METRICS:
            return _METRICS[ancestor](_Inputs(rows, policies, counter))
    raise TypeError(
        f"{record.__name__} is not a row of a table: it inherits from none of ours"
    )


def _prompts(inputs: _Inputs) -> pl.DataFrame:
    return inputs.rows.select(*KEYS, inputs.prompt_tokens(), _blank("prompt"))


def _any_row(inputs: _Inputs) -> pl.DataFrame:
    return inputs.rows.select(*_KEYS_AND_LABEL, _blank("prompt"))


def _cots(inputs: _Inputs) -> pl.DataFrame:
    blank_texts = _blank("prompt", "response") + _blank_thoughts()
    table = inputs.rows.select(
        *_KEYS_AND_LABEL,
        "cot_tokens",
        inputs.tokens("response", "response_tokens"),
        pl.col("thoughts").list.len().cast(pl.Int64),
        blank_texts.alias("blank_texts"),
    )
    return pl.concat([table, _coverage(inputs)], how="horizontal")


def _deliberated_cots(inputs: _Inputs) -> pl.DataFrame:
    turns = pl.col("turns").list.len()
    turn_count = turns.cast(pl.Int64)
    deliberation = inputs.rows.select(turn_count, "outcome", "stalled")
    cots = _cots(inputs)
    return pl.concat([cots, deliberation], how="horizontal")


def _refined_cots(inputs: _Inputs) -> pl.DataFrame:
    texts = inputs.rows.select("prompt", _joined_thoughts().alias("cot"), "response")
    ratio = pl.col("cot_tokens") / pl.max_horizontal("deliberated_cot_tokens", 1)
    refinement = inputs.rows.select(
        "deliberated_cot_tokens",
        ratio.alias("refined_ratio"),
        "rests_on_dropped",
        _agent_talk(texts, "cot", "response"),
    )
    return pl.concat([_cots(inputs), refinement], how="horizontal")


def _cot_grades(inputs: _Inputs) -> pl.DataFrame:
    is_refined = pl.element().struct.field("version") == "refined"
    refined_grades = pl.col("grades").list.eval(is_refined).list.sum()
    # Lowest and highest are enough to prove that all scores are within the scale.
    lowest = []
    highest = []
    for metric in METRICS:
        scores = _scores(metric)
        lowest.append(scores.list.min().alias(f"{metric}_lowest"))
        highest.append(scores.list.max().alias(f"{metric}_highest"))
    ungraded = pl.col("ungraded").list.len()
    return inputs.rows.select(
        *_KEYS_AND_LABEL,
        "policy_score",
        refined_grades.cast(pl.Int64).alias("refined_grades"),
        *lowest,
        *highest,
        ungraded.cast(pl.Int64),
        _blank("prompt"),
    )


def _scores(metric: str) -> pl.Expr:
    grade = pl.element().struct.field(metric)
    score = grade.struct.field("score")
    return pl.col("grades").list.eval(score)


def _preference_pairs(inputs: _Inputs) -> pl.DataFrame:
    same_cot = pl.col("chosen_cot") == pl.col("rejected_cot")
    same_response = pl.col("chosen_response") == pl.col("rejected_response")
    texts = (
        "prompt",
        "belief",
        "chosen_cot",
        "chosen_response",
        "rejected_cot",
        "rejected_response",
    )
    return inputs.rows.select(
        *_KEYS_AND_LABEL,
        "chosen_cot_tokens",
        "rejected_cot_tokens",
        inputs.tokens("chosen_response", "chosen_response_tokens"),
        inputs.tokens("rejected_response", "rejected_response_tokens"),
        "similarity",
        "margin",
        (same_cot & same_response).alias("same_text"),
        _blank(*texts),
        _agent_talk(inputs.rows, "chosen_cot", "chosen_response"),
    )


def _policy_counterfactuals(inputs: _Inputs) -> pl.DataFrame:
    texts = ("first_cot", "first_response", "second_cot", "second_response")
    same_text = pl.col("first_response") == pl.col("second_response")
    unknown, uncovered = [], []
    for rules, applicable in inputs.rows.select(
        "second_rules", "second_applicable_policies"
    ).iter_rows():
        unknown.append(len(set(rules).difference(inputs.policies.rule_ids)))
        uncovered.append(len(inputs.policies.uncovered(applicable, rules)))
    return inputs.rows.select(
        *_KEYS_AND_LABEL,
        "first_cot_tokens",
        "second_cot_tokens",
        inputs.tokens("first_response", "first_response_tokens"),
        inputs.tokens("second_response", "second_response_tokens"),
        same_text.alias("same_text"),
        pl.Series("unknown_rules", unknown, dtype=pl.Int64),
        pl.Series("uncovered_policies", uncovered, dtype=pl.Int64),
        _blank("prompt", "first_system", "second_system", *texts),
        _agent_talk(inputs.rows, "second_cot", "second_response"),
    )


def _fine_tune_splits(inputs: _Inputs) -> pl.DataFrame:
    is_sft = pl.col("kind") == "sft"
    assistant_turn = pl.when(is_sft).then(_last("messages")).otherwise(_last("chosen"))
    # The turns before the prompt are in it as well, so they may be quoted.
    asked = pl.when(is_sft).then(_contents("messages")).otherwise(_contents("prompt"))
    # Written out here once more, so that a mistake in `join_thinking` cannot approve itself.
    expected_turn = pl.format("<think>\n{}\n</think>\n\n{}", "thinking", "response")
    is_rejected_text = assistant_turn == _last("rejected")
    splits_of_prompt = pl.col("split").n_unique().over("prompt_id")
    texts = inputs.rows.select(asked.alias("prompt"), "thinking", "response")
    return inputs.rows.select(
        *_KEYS_AND_LABEL,
        "kind",
        "split",
        pl.format("{}/{}", "prompt_id", "kind").alias("row_key"),
        splits_of_prompt.cast(pl.Int64).alias("splits_of_prompt"),
        inputs.tokens("thinking", "thinking_tokens"),
        inputs.tokens("response", "response_tokens"),
        # A null on either side makes the comparison null, which is no whole turn.
        (assistant_turn == expected_turn).fill_null(value=False).alias("turn_is_whole"),
        pl.when(is_sft).then(False).otherwise(is_rejected_text).alias("same_text"),
        _blank("thinking", "response"),
        _agent_talk(texts, "thinking", "response"),
    )


_METRICS: Mapping[type, Callable[[_Inputs], pl.DataFrame]] = {
    Prompt: _prompts,
    Row: _any_row,
    CotRow: _cots,
    DeliberatedCot: _deliberated_cots,
    RefinedCot: _refined_cots,
    CotGrades: _cot_grades,
    PreferencePair: _preference_pairs,
    PolicyCounterfactual: _policy_counterfactuals,
    FineTuneRow: _fine_tune_splits,
}
"""By record class; a class that is not here has the metrics of the class it inherits from."""


def _blank(*columns: str) -> pl.Expr:
    """Count the texts that are null or white space."""
    blank = []
    for column in columns:
        is_blank = _is_blank(pl.col(column))
        blank.append(is_blank.cast(pl.Int64))
    return pl.sum_horizontal(blank).alias("blank_texts")


def _blank_thoughts() -> pl.Expr:
    """Count the thoughts without text; a row without any thought counts as one."""
    thoughts = pl.col("thoughts")
    is_blank = _is_blank(pl.element().struct.field("text"))
    blank = thoughts.list.eval(is_blank).list.sum()
    has_thoughts = thoughts.list.len() > 0
    # The sum of an empty list is 0, which would pass a row without a chain of thought.
    return pl.when(has_thoughts).then(blank.cast(pl.Int64)).otherwise(1)


def _is_blank(text: pl.Expr) -> pl.Expr:
    return text.is_null() | (text.str.strip_chars() == "")


def _joined_thoughts() -> pl.Expr:
    text = pl.element().struct.field("text")
    texts = pl.col("thoughts").list.eval(text)
    return texts.list.join("\n\n", ignore_nulls=True)


def _coverage(inputs: _Inputs) -> pl.DataFrame:
    """Count, per row, the rules cited and unknown, and the policies applicable and uncovered."""
    is_known = pl.col("rule").is_in(list(inputs.policies.rule_ids))
    unknown_rules = pl.col("rule").filter(~is_known)
    cited = (
        citations(inputs.rows)
        .group_by("row")
        .agg(
            pl.col("rule").n_unique().cast(pl.Int64).alias("cited_rules"),
            unknown_rules.n_unique().cast(pl.Int64).alias("unknown_rules"),
            unknown_rules.unique(maintain_order=True).str.join(", ").alias("unknown"),
            pl.col("policy").filter(is_known).unique().alias("covered"),
        )
    )
    row_number = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    rows = inputs.rows.select(row_number, "applicable_policies", "thoughts")
    joined = rows.join(cited, on="row", how="left", maintain_order="left")
    # A row without a citation has no line in `cited`.
    joined = joined.with_columns(
        pl.col("cited_rules", "unknown_rules").fill_null(0),
        pl.col("unknown").fill_null(""),
        pl.col("covered").fill_null(pl.lit([], dtype=pl.List(pl.String))),
    )
    applicable = pl.col("applicable_policies").list
    missing = applicable.set_difference("covered")
    return joined.select(
        _where_thoughts_exist("cited_rules"),
        _where_thoughts_exist("unknown_rules"),
        "unknown",
        applicable.len().cast(pl.Int64).alias("applicable"),
        missing.list.len().cast(pl.Int64).alias("uncovered_policies"),
        missing.list.sort().list.join(", ").alias("uncovered"),
    )


def _where_thoughts_exist(column: str) -> pl.Expr:
    """Null where the row has no list of thoughts to count in."""
    return pl.when(pl.col("thoughts").is_not_null()).then(pl.col(column)).alias(column)


def _agent_talk(texts: pl.DataFrame, *columns: str) -> pl.Series:
    """Find agent talk in a row's texts that its prompt does not contain; empty if none."""
    phrases = []
    for prompt, *row_texts in texts.select("prompt", *columns).iter_rows():
        phrase = ""
        for text in row_texts:
            # One phrase is enough to fail the row, and the search is slow.
            if not phrase:
                phrase = agent_talk(text or "", prompt or "") or ""
        phrases.append(phrase)
    return pl.Series("agent_talk", phrases, dtype=pl.String)


def _contents(messages: str) -> pl.Expr:
    """Join the texts of all turns but those of a final answer."""
    turns = pl.col(messages)
    has_answer = turns.list.last().struct.field("role") == "assistant"
    asked = turns.list.head(turns.list.len() - has_answer.cast(pl.UInt32))
    texts = asked.list.eval(pl.element().struct.field("content"))
    return texts.list.join("\n\n", ignore_nulls=True)


def _last(messages: str) -> pl.Expr:
    return pl.col(messages).list.last().struct.field("content")
