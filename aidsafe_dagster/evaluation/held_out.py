"""Held-out rows as a benchmark and as answers to score, and what the scores add up to.

The rows are those of the test split of the batches that training takes, so no adapter that was
trained on the same batches has seen them, or a near duplicate of their prompts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aidsafe_dagster.evaluation.items import Benchmark
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.quality.statistics import (
    Estimate,
    mean_interval,
    paired_difference,
    proportion,
)
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.held_out import HeldOutScore, prompt_of
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.recipe.safety_eval import BenchmarkItem, ItemKind

HELD_OUT = "held_out"


def read_held_out(
    lake: Lake,
    batches: Sequence[str],
    limit: int,
    *,
    without_dpo: Collection[str] = (),
) -> list[FineTuneRow]:
    """Return at most `limit` rows of each kind of the test split, the same ones every time.

    Args:
        lake: where the rows are.
        batches: those of the training.
        limit: rows of each kind.
        without_dpo: batches whose DPO rows stand behind a closed gate, and are left out.
    """
    rows: list[FineTuneRow] = []
    for batch in sorted(batches):
        frame = lake.rows(Stage.FINE_TUNE_SPLITS, batch).filter(split="test")
        if batch in without_dpo:
            frame = frame.filter(kind="sft")
        rows += from_frame(frame, FineTuneRow)

    def rank(row: FineTuneRow) -> int:
        return hash_rank(HELD_OUT, row.prompt_id)

    drawn: list[FineTuneRow] = []
    for kind in ("sft", "dpo"):
        of_kind = [row for row in rows if row.kind == kind]
        drawn += sorted(of_kind, key=rank)[:limit]
    return drawn


def held_out_benchmark(rows: Sequence[FineTuneRow]) -> Benchmark | None:
    """Return the prompts of the SFT rows as a benchmark; None without rows."""
    items = []
    for row in rows:
        if row.kind != "sft":
            continue
        kind: ItemKind = "harmful" if row.prompt_kind == "harmful" else "benign"
        prompt = prompt_of(row)
        items.append(BenchmarkItem(benchmark=HELD_OUT, kind=kind, prompt=prompt))
    if not items:
        return None
    return Benchmark(HELD_OUT, "test split", tuple(items), len(items), {})


@dataclass(frozen=True)
class HeldOutResult:
    """What the scores of one model add up to. Differences are from the first model."""

    candidate: str
    loss: Estimate | None
    """Nats per token of the SFT rows' answers, mean of the rows."""
    loss_difference: Estimate | None
    preferred: Estimate | None
    """Share of pairs whose chosen answer is more probable per token than the rejected one."""
    margin_difference: Estimate | None
    """By how much the log-probability of the chosen answer has grown more than that of the rejected
    one (nats): DPO's reward margin without its factor beta, with the first model as reference."""
    widened: Estimate | None
    """Share of pairs whose margin has grown."""
    unscored: int


def held_out_results(scores: Sequence[HeldOutScore]) -> list[HeldOutResult]:
    """Return a result per model, in the order of first appearance.

    Only rows that every model scored count, so that all figures are of the same rows.
    """
    candidates = list(dict.fromkeys(score.candidate for score in scores))
    common = _scored_by_all(scores, candidates)
    results: list[HeldOutResult] = []
    for candidate in candidates:
        missing = sum(
            score.candidate == candidate and score.answer is None for score in scores
        )
        losses = _losses(common[candidate])
        margins = _margins(common[candidate])
        first = common[candidates[0]]
        loss_difference = margin_difference = widened = None
        if candidate != candidates[0]:
            gains = _differences(margins, _margins(first))
            loss_difference = paired_difference(losses, _losses(first))
            margin_difference = mean_interval(gains)
            widened = proportion(sum(gain > 0 for gain in gains), len(gains))
        results.append(
            HeldOutResult(
                candidate=candidate,
                loss=mean_interval(losses),
                loss_difference=loss_difference,
                preferred=_share_preferred(common[candidate]),
                margin_difference=margin_difference,
                widened=widened,
                unscored=missing,
            )
        )
    return results


def _scored_by_all(
    scores: Sequence[HeldOutScore], candidates: Sequence[str]
) -> dict[str, list[HeldOutScore]]:
    """Return the scores of each model, in one order of rows."""
    by_row: dict[tuple[str, str], dict[str, HeldOutScore]] = {}
    for score in scores:
        if score.answer is not None:
            row = by_row.setdefault((score.kind, score.prompt_id), {})
            row[score.candidate] = score
    common: dict[str, list[HeldOutScore]] = {name: [] for name in candidates}
    for row in by_row.values():
        if len(row) == len(candidates):
            for name, score in row.items():
                common[name].append(score)
    return common


def _losses(scores: Sequence[HeldOutScore]) -> list[float]:
    losses = []
    for score in scores:
        if score.kind == "sft" and score.answer:
            losses.append(score.answer.loss)
    return losses


def _margins(scores: Sequence[HeldOutScore]) -> list[float]:
    margins = []
    for score in scores:
        if score.answer and score.rejected:
            margin = score.answer.log_probability - score.rejected.log_probability
            margins.append(margin)
    return margins


def _share_preferred(scores: Sequence[HeldOutScore]) -> Estimate | None:
    pairs = preferred = 0
    for score in scores:
        if score.answer and score.rejected:
            pairs += 1
            preferred += score.answer.loss < score.rejected.loss
    return proportion(preferred, pairs)


def _differences(values: Sequence[float], against: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(values, against, strict=True)]
