"""What a materialization shows in the UI: counts, lengths, coverage, cost, and two rows to read."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.server_load import ServerLoad
from aidsafe_dagster.quality.coverage import policy_coverage
from aidsafe_dagster.recipe.fine_tune_splits import refined_scores
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    DeliberatedCot,
    Failure,
    PreferencePair,
    Record,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.transcript import (
    deliberated_transcript,
    grades_transcript,
    pair_transcript,
    refined_transcript,
    seed_transcript,
    single_llm_transcript,
)
from aidsafe_dagster.stages.plots import histogram, in_flight, margins_plot

REHEARSAL_LABEL = "**Rehearsal: simulated by rule, not a model's output. Not for training.**"
_TRANSCRIPTS: Mapping[type[Record], Callable[[Any], str]] = {
    SingleLlmCot: single_llm_transcript,
    SeedCot: seed_transcript,
    DeliberatedCot: deliberated_transcript,
    RefinedCot: refined_transcript,
    CotGrades: grades_transcript,
    PreferencePair: pair_transcript,
}


def row_metadata(rows: Sequence[Record], failures: Sequence[Failure]) -> dict[str, Any]:
    """Rows made and failed, and the failures by reason."""
    return {
        "dagster/row_count": len(rows),
        "rows": len(rows),
        "rows_failed": len(failures),
        "failures_by_reason": table(Counter(str(failure.reason) for failure in failures), "reason"),
    }


def length_metadata(lengths: Sequence[int], what: str) -> dict[str, Any]:
    """Quantiles and a histogram of token counts."""
    if not lengths:
        return {}
    series = pl.Series(lengths)
    return {
        f"{what}_p50": int(series.quantile(0.5, "nearest") or 0),
        f"{what}_p95": int(series.quantile(0.95, "nearest") or 0),
        f"{what}_histogram": dg.MetadataValue.md(histogram(lengths, what)),
    }


def coverage_metadata(frame: pl.DataFrame, policies: Policies) -> dict[str, Any]:
    """Per policy: rows it applies to, rows that cite it."""
    records = [
        dg.TableRecord(row) for row in policy_coverage(frame, policies).iter_rows(named=True)
    ]
    return {"policy_coverage": dg.MetadataValue.table(records)} if records else {}


def cost_metadata(progress: Progress) -> dict[str, Any]:
    """What this run asked of the engine, and what the journal saved it."""
    usage, seconds = progress.usage, progress.seconds
    return {
        "calls_made": progress.calls_made,
        "calls_replayed": progress.replayed,
        "calls_read_ahead": progress.read_ahead,
        "calls_tried_again": progress.retries,
        "peak_calls_in_flight": progress.peak_in_flight,
        "tokens_in": usage.prompt_tokens,
        "tokens_out": usage.completion_tokens,
        "tokens_in_cached_share": round(usage.cached_tokens / usage.prompt_tokens, 4)
        if usage.prompt_tokens
        else 0.0,
        "seconds": round(seconds, 2),
        "rows_per_second": round(progress.rows_done / seconds, 2) if seconds else 0.0,
        **_load_metadata(progress.load, seconds),
    }


def _load_metadata(load: ServerLoad | None, seconds: float) -> dict[str, Any]:
    """What the model server said of itself; it may have served other runs too."""
    if load is None:
        return {}
    held = {"gpu_seconds": round(load.gpus * seconds, 1)} if load.gpus else {}
    if not load.seconds:
        return held
    found: dict[str, Any] = {
        **held,
        "server_tokens_per_second": round(load.tokens_per_second, 1),
        "server_queue_share": round(load.queue_share, 4),
        "server_calls_in_flight": dg.MetadataValue.md(in_flight(load)),
    }
    if load.prefix_share is not None:
        found["server_prefix_share"] = round(load.prefix_share, 4)
    return found


def signature_metadata(rows: Sequence[Record]) -> dict[str, Any]:
    """Counts of what the recipe warns of in rows that passed."""
    found: dict[str, Any] = {}
    deliberated = [row for row in rows if isinstance(row, DeliberatedCot)]
    refined = [row for row in rows if isinstance(row, RefinedCot)]
    if deliberated:
        found["stalled_deliberations"] = sum(row.stalled for row in deliberated)
        found["ended_by_consensus"] = sum(row.outcome == "consensus" for row in deliberated)
        found["turns_taken"] = sum(len(row.turns) for row in deliberated)
    if refined:
        verdicts = Counter(str(j.verdict) for row in refined for j in row.judgements)
        found["thoughts_kept"] = verdicts[ThoughtVerdict.KEEP]
        found["thoughts_dropped"] = verdicts.total() - verdicts[ThoughtVerdict.KEEP]
        found["verdicts"] = table(verdicts, "verdict")
        found["rests_on_dropped_thoughts"] = sum(row.rests_on_dropped for row in refined)
    return found


def transcript_metadata(rows: Sequence[Record]) -> dict[str, Any]:
    """Two rows as a person reads them: the shortest and the middle one of those in which most happened."""
    if not rows or type(rows[0]) not in _TRANSCRIPTS:
        return {}
    render, eventful = _TRANSCRIPTS[type(rows[0])], max(map(_happened, rows))
    pages = sorted(
        (render(row) for row in rows if _happened(row) == eventful),
        key=lambda page: (len(page), page),
    )
    chosen = dict.fromkeys((pages[0], pages[len(pages) // 2]))
    return {f"transcript_{n}": dg.MetadataValue.md(page) for n, page in enumerate(chosen, start=1)}


def _happened(row: Record) -> bool:
    """Something to see: a thought was dropped, or more than one agent spoke."""
    if isinstance(row, RefinedCot):
        return any(j.verdict is not ThoughtVerdict.KEEP for j in row.judgements)
    return isinstance(row, DeliberatedCot) and len(row.turns) > 1


def grade_metadata(rows: Sequence[CotGrades]) -> dict[str, Any]:
    """Mean scores by version, and what was asked and not answered."""
    versions = list(dict.fromkeys(grade.version for row in rows for grade in row.grades))
    graded = {v: [g for row in rows for g in row.grades if g.version == v] for v in versions}
    lines = [
        {
            "metric": metric,
            **{v: round(fmean(getattr(g, metric).score for g in graded[v]), 3) for v in versions},
        }
        for metric in METRICS
    ]
    outcomes = Counter(
        f"{c.version} against {c.against}: {c.outcome}" for row in rows for c in row.comparisons
    )
    return {
        "mean_scores": dg.MetadataValue.table([dg.TableRecord(line) for line in lines]),
        "comparisons": table(outcomes, "outcome"),
        "grades": sum(map(len, graded.values())),
        "ungraded": sum(len(row.ungraded) for row in rows),
        "refined_policy_score": round(fmean(row.policy_score for row in rows), 4) if rows else 0.0,
    }


def threshold_metadata(grades: Sequence[CotGrades]) -> dict[str, Any]:
    """How many refined rows a score gate at each threshold would keep, by metric."""
    scores = [refined_scores(row) for row in grades]
    lines = [
        {
            "metric": metric,
            **{f"≥ {least}": sum(s[metric] >= least for s in scores) for least in range(1, 6)},
        }
        for metric in METRICS
    ]
    return (
        {"kept_by_score_gate": dg.MetadataValue.table([dg.TableRecord(line) for line in lines])}
        if scores
        else {}
    )


def margin_metadata(pairs: Sequence[PreferencePair]) -> dict[str, Any]:
    """Margins of the pairs, against those of plain sampling of two answers."""
    if not pairs:
        return {}
    margins = [pair.margin for pair in pairs]
    plain = [
        abs(pair.plain_scores[0] - pair.plain_scores[1]) for pair in pairs if pair.plain_scores
    ]
    return {
        "pairs_by_kind": table(Counter(pair.kind for pair in pairs), "kind"),
        "margin_mean": round(fmean(margins), 4),
        **(
            {"plain_margin_mean": round(fmean(plain), 4), "plain_rows": len(plain)} if plain else {}
        ),
        "margins": dg.MetadataValue.md(margins_plot(margins, plain)),
    }


def table(counts: Mapping[str, int], label: str) -> dg.TableMetadataValue:
    """Counts as a table, most frequent first; an empty one has its columns all the same."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dg.MetadataValue.table(
        [dg.TableRecord({label: key, "count": count}) for key, count in ordered],
        schema=dg.TableSchema([dg.TableColumn(label, "string"), dg.TableColumn("count", "int")]),
    )
