"""The adapters of two generations on the same benchmark prompts and the same held-out rows.

Each evaluation is a Parquet file among the reports of its generation. That of the later generation
has the earlier adapter too, on the very same prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from aidsafe_dagster.evaluation.held_out import HeldOutResult, held_out_results
from aidsafe_dagster.evaluation.results import MEASURES, Measure
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.quality.statistics import Estimate, paired_shares, proportion
from aidsafe_dagster.recipe.held_out import HeldOutScore
from aidsafe_dagster.recipe.safety_eval import FAILED, EvaluatedAnswer

EVALUATION_FILE = "safety_eval.parquet"
HELD_OUT_FILE = "held_out.parquet"
_Item = tuple[str, str, str]


@dataclass(frozen=True)
class ComparedShare:
    """One measure on one benchmark, of two adapters on the same prompts."""

    benchmark: str
    measure: Measure
    a: Estimate
    b: Estimate
    difference: Estimate | None
    failed_a: int
    """Prompts without a result. They are in the denominator and never counted."""
    failed_b: int


def compare_answers(
    reports: Sequence[Path], first: str, second: str
) -> list[ComparedShare]:
    """Compare two models of evaluations; nothing if one of them was not evaluated.

    Args:
        reports: folders of reports; the first that has a model counts.
        first: name of the one model.
        second: of the other.
    """
    a = _answers(reports, first)
    b = _answers(reports, second)
    shares = []
    benchmarks = list(dict.fromkeys(benchmark for benchmark, _, _ in a))
    for benchmark in benchmarks:
        for measure in MEASURES:
            items = [
                item
                for item, answer in a.items()
                if item[0] == benchmark and answer.kind == measure.kind and item in b
            ]
            if items:
                shares.append(_compare(benchmark, measure, items, a, b))
    return shares


def compare_held_out(
    reports: Sequence[Path], first: str, second: str
) -> list[HeldOutResult]:
    """Compare two models on held-out rows; nothing if one of them has no scores."""
    for folder in reports:
        file = folder / HELD_OUT_FILE
        if not file.exists():
            continue
        scores = from_frame(pl.read_parquet(file), HeldOutScore)
        # The first is what the second is compared with.
        own = [one for one in scores if one.candidate == first]
        own += [one for one in scores if one.candidate == second]
        if len({one.candidate for one in own}) == 2:
            return held_out_results(own)
    return []


def _answers(reports: Sequence[Path], name: str) -> dict[_Item, EvaluatedAnswer]:
    for folder in reports:
        file = folder / EVALUATION_FILE
        if not file.exists():
            continue
        frame = pl.read_parquet(file).filter(candidate=name)
        if frame.height:
            answers = from_frame(frame, EvaluatedAnswer)
            return {
                (one.benchmark, one.prompt_id, one.jailbreak): one for one in answers
            }
    return {}


def _compare(
    benchmark: str,
    measure: Measure,
    items: Sequence[_Item],
    a: dict[_Item, EvaluatedAnswer],
    b: dict[_Item, EvaluatedAnswer],
) -> ComparedShare:
    first = {item for item in items if a[item].outcome in measure.counted}
    second = {item for item in items if b[item].outcome in measure.counted}
    share_a = proportion(len(first), len(items))
    share_b = proportion(len(second), len(items))
    # They are None only without prompts.
    assert share_a is not None
    assert share_b is not None
    return ComparedShare(
        benchmark=benchmark,
        measure=measure,
        a=share_a,
        b=share_b,
        difference=paired_shares(len(second - first), len(first - second), len(items)),
        failed_a=sum(a[item].outcome in FAILED for item in items),
        failed_b=sum(b[item].outcome in FAILED for item in items),
    )
