"""The rows that each arm of a comparison is trained on.

All SFT arms take the prompts and splits of our SFT rows, which passed floors, decontamination and
gates, and differ in the answer alone: that of the source, of a single model, or ours.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.chat_tokens import without_chat_tokens
from aidsafe_dagster.recipe.fine_tune_splits import join_thinking
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import (
    PreferencePair,
    Prompt,
    SingleLlmCot,
    Stage,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from aidsafe_dagster.training.arms import BASE, SFT, Arm
from aidsafe_dagster.training.data import Subset
from aidsafe_dagster.training.settings import Method

NEEDLESS_REFUSAL = "needless_refusal"
NO_ORIGINAL = (
    "no prompt of these rows has an answer of its source: name the column of answers "
    "(columns.response of the source, or `aidsafe ingest --response-column`); prompts that are in "
    "a batch already keep what they came with"
)
NO_SINGLE = "no prompt of these rows has a single-LLM CoT: make single_llm_cots"
NO_PAIRS = "no preference pair is in the train split"
NO_REFUSALS = (
    "no pair in the train split has a needless refusal as its rejected side: raise "
    "pairs.over_refusal_share, or take in more benign prompts"
)


def table_2_arms(
    lake: Lake, rows: pl.DataFrame, batches: Mapping[str, str], *, why_no_pairs: str
) -> list[Arm]:
    """Return the arms of the paper's Table 2, and further that of single-LLM CoTs.

    Args:
        lake: holds prompts and single-LLM CoTs.
        rows: fine-tune rows of the training.
        batches: batch → fingerprint of its rows.
        why_no_pairs: the closed gates that keep DPO rows out; empty if none does.
    """
    sft = rows.filter(kind="sft")
    dpo = rows.filter(kind="dpo")
    fingerprints = tuple(batches.items())
    original = _with_answers(sft, _original_answers(lake, list(batches)))
    single = _with_answers(sft, _single_answers(lake, list(batches)))
    return [
        Arm(BASE, "base"),
        _arm("sft_original", "SFT, original", original, fingerprints, NO_ORIGINAL),
        _arm("sft_single_llm", "SFT, single LLM", single, fingerprints, NO_SINGLE),
        _arm(SFT, "SFT, ours", sft, fingerprints, "no SFT row is in the train split"),
        _arm("dpo", "ours + DPO", dpo, fingerprints, why_no_pairs or NO_PAIRS, SFT),
    ]


def selection_arms(
    rows: pl.DataFrame,
    batches: Mapping[str, str],
    subsets: Sequence[Subset],
    *,
    why_none: str,
) -> list[Arm]:
    """Return SFT on each part of the train split; validation and test are the same rows for all.

    Args:
        rows: fine-tune rows of the training.
        batches: batch → fingerprint of its rows.
        subsets: the parts.
        why_none: what keeps them from being trained on; empty if nothing does.
    """
    sft = rows.filter(kind="sft")
    arms = []
    for subset in subsets:
        is_taken = pl.col("prompt_id").is_in(list(subset.prompts))
        taken = sft.filter((pl.col("split") != "train") | is_taken)
        if why_none:
            taken = taken.clear()
        name, title = f"sft_{subset.name}", f"SFT, {subset.name}"
        reason = why_none or "none of its rows is trained on"
        arms.append(_arm(name, title, taken, tuple(batches.items()), reason))
    return arms


def over_refusal_arms(
    lake: Lake,
    rows: pl.DataFrame,
    batches: Mapping[str, str],
    shares: Sequence[float],
    *,
    why_no_pairs: str,
) -> list[Arm]:
    """Return base, SFT, and DPO at several shares of needless-refusal pairs.

    Every share has equally many pairs in its train split, so that arms differ in the kind of pair
    and not in the length of the training. A smaller share's refusals are among a larger one's.
    """
    sft, dpo = rows.filter(kind="sft"), rows.filter(kind="dpo")
    fingerprints = tuple(batches.items())
    kinds = _pair_kinds(lake, list(batches))
    # A translated pair has no kind of its own, and is left out here.
    dpo = dpo.filter(pl.col("prompt_id").is_in(list(kinds)))
    is_refusal = (
        pl.col("prompt_id").replace_strict(kinds, default="") == NEEDLESS_REFUSAL
    )
    train = dpo.filter(split="train")
    refusals = _ranked(train.filter(is_refusal))
    violations = _ranked(train.filter(~is_refusal))
    reasons = {}
    for share in shares:
        reasons[share] = why_no_pairs if train.is_empty() else ""
        if share > 0 and refusals.is_empty():
            reasons[share] = reasons[share] or NO_REFUSALS
        if share < 1 and violations.is_empty():
            reasons[share] = reasons[share] or NO_PAIRS
    feasible = [share for share in shares if not reasons[share]]
    size = _common_size(feasible, len(refusals), len(violations))
    held_out = dpo.filter(pl.col("split") != "train")
    arms = [
        Arm(BASE, "base"),
        _arm(SFT, "SFT, ours", sft, fingerprints, "no SFT row is in the train split"),
    ]
    for share in shares:
        wanted = round(share * size)
        taken = pl.concat(
            [refusals.head(wanted), violations.head(size - wanted), held_out]
        )
        if reasons[share]:
            taken = taken.clear()
        name = f"dpo_refusals_{round(1000 * share):04d}"
        title = f"DPO, {100 * share:g} % refusals"
        arms.append(_arm(name, title, taken, fingerprints, reasons[share], SFT))
    return arms


def _common_size(shares: Sequence[float], refusals: int, violations: int) -> int:
    """Return the most pairs that every share can be made of."""
    sizes = [refusals + violations]
    for share in shares:
        if share > 0:
            sizes.append(int(refusals / share))
        if share < 1:
            sizes.append(int(violations / (1 - share)))
    return min(sizes)


def _arm(
    name: str,
    title: str,
    rows: pl.DataFrame,
    batches: tuple[tuple[str, str], ...],
    missing: str,
    after: str = "",
) -> Arm:
    method: Method = "dpo" if after else "sft"
    if rows.filter(split="train").is_empty():
        return Arm(name, title, method, after=after, missing=missing)
    return Arm(name, title, method, rows, batches, after)


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows in an order that is drawn by hash, and the same every time."""
    ranks = [hash_rank("over_refusal", row) for row in rows["prompt_id"]]
    # As text: a rank has more bits than a column of whole numbers.
    order = pl.Series("rank", [f"{rank:040d}" for rank in ranks], dtype=pl.String)
    return rows.with_columns(order).sort("rank").drop("rank")


def _pair_kinds(lake: Lake, batches: Sequence[str]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for batch in batches:
        if lake.has(Stage.PREFERENCE_PAIRS, batch):
            for pair in lake.records(Stage.PREFERENCE_PAIRS, batch, PreferencePair):
                kinds[pair.prompt_id] = pair.kind
    return kinds


class _Answer(NamedTuple):
    thinking: str
    response: str
    simulated: bool


def _original_answers(lake: Lake, batches: Sequence[str]) -> dict[str, _Answer]:
    answers = {}
    for batch in batches:
        for prompt in lake.records(Stage.PROMPTS, batch, Prompt):
            if prompt.original_response:
                # Tokens of a chat template within an answer would end the turn in training.
                text = without_chat_tokens(prompt.original_response)
                answers[prompt.prompt_id] = _Answer("", text, simulated=False)
    return answers


def _single_answers(lake: Lake, batches: Sequence[str]) -> dict[str, _Answer]:
    answers = {}
    for batch in batches:
        if not lake.has(Stage.SINGLE_LLM_COTS, batch):
            continue
        for row in lake.records(Stage.SINGLE_LLM_COTS, batch, SingleLlmCot):
            thinking = join_thoughts(row.thoughts)
            answers[row.prompt_id] = _Answer(thinking, row.response, row.simulated)
    return answers


def _with_answers(rows: pl.DataFrame, answers: Mapping[str, _Answer]) -> pl.DataFrame:
    """Return the SFT rows whose prompts have such an answer, with it in place of ours."""
    kept = []
    for row in rows.filter(pl.col("prompt_id").is_in(list(answers))).to_dicts():
        thinking, response, simulated = answers[row["prompt_id"]]
        content = join_thinking(thinking, response) if thinking else response
        *turns, assistant = row["messages"]
        messages = [*turns, {**assistant, "content": content}]
        changes = {
            "messages": messages,
            "thinking": thinking,
            "response": response,
            "simulated": simulated,
        }
        kept.append(row | changes)
    return pl.DataFrame(kept, schema=rows.schema)
