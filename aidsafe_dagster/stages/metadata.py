"""What a materialization shows in the UI: counts, lengths, coverage, cost, and two rows to read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.server_load import ServerLoad
from aidsafe_dagster.quality.coverage import policy_coverage
from aidsafe_dagster.recipe.fine_tune_splits import (
    NO_GRADE,
    FloorCounts,
    ScoreGate,
    count_by_floor,
    refined_scores,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    DeliberatedCot,
    Failure,
    FailureReason,
    Grade,
    PolicyCounterfactual,
    PreferencePair,
    Provenance,
    Record,
    RefinedCot,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.repairs import count_repairs
from aidsafe_dagster.recipe.stages import StageDefinition
from aidsafe_dagster.stages.plots import calls_in_flight, histogram, margin_histogram
from aidsafe_dagster.stages.progress_log import describe_seconds

_LENGTH_COLUMNS = (
    "cot_tokens",
    "deliberated_cot_tokens",
    "chosen_cot_tokens",
    "rejected_cot_tokens",
    "first_cot_tokens",
    "second_cot_tokens",
)


def row_metadata(rows: Sequence[Record], failures: Sequence[Failure]) -> dict[str, Any]:
    """Rows made and failed, and the failures by reason."""
    reasons = Counter(str(failure.reason) for failure in failures)
    return {
        # Dagster's own key, which its UI knows as the number of rows.
        "dagster/row_count": len(rows),
        "rows": len(rows),
        "rows_failed": len(failures),
        "failures_by_reason": count_table(reasons, "reason"),
    }


def length_metadata(rows: Sequence[Record]) -> dict[str, Any]:
    """Quantiles and a histogram of each column that counts the tokens of a CoT."""
    metadata: dict[str, Any] = {}
    for column in _LENGTH_COLUMNS:
        lengths = [getattr(row, column) for row in rows if hasattr(row, column)]
        if lengths:
            series = pl.Series(lengths)
            # The nearest value is the length of a real row, and so a whole number.
            middle = series.quantile(0.5, "nearest")
            high = series.quantile(0.95, "nearest")
            plot = histogram(lengths, column)
            metadata[f"{column}_p50"] = int(middle or 0)
            metadata[f"{column}_p95"] = int(high or 0)
            metadata[f"{column}_histogram"] = dg.MetadataValue.md(plot)
    return metadata


def coverage_metadata(frame: pl.DataFrame, policies: Policies) -> dict[str, Any]:
    """Per policy, the rows that it applies to and the rows that cite it."""
    if "applicable_policies" not in frame.columns or not policies.ids:
        return {}
    coverage = policy_coverage(frame, policies)
    return {"policy_coverage": record_table(coverage.to_dicts())}


def maker_metadata(rows: Sequence[Provenance]) -> dict[str, Any]:
    """The models and servers that answered, and the answers that were read leniently."""
    models = sorted({row.model for row in rows})
    servers: set[str] = set()
    repaired: list[str] = []
    for row in rows:
        servers.update(row.servers)
        repaired.extend(row.repaired)
    return {
        "models": ", ".join(models),
        "servers": ", ".join(sorted(servers)),
        "answers_repaired": len(repaired),
        "repairs": count_table(count_repairs(repaired), "mended"),
    }


def cost_metadata(progress: Progress, currency: str = "") -> dict[str, Any]:
    """What this run asked of the engine, and what the journal saved it.

    Replayed calls cost nothing. Without a currency no server has prices, and no money is shown.
    """
    usage = progress.usage
    seconds = progress.seconds
    rows_per_second = progress.rows_done / seconds if seconds else 0.0
    rates = progress.mean_rates
    money = {}
    if currency:
        money = {"cost": round(usage.cost, 6), "currency": currency}
    return {
        "calls_made": progress.calls_made,
        "calls_replayed": progress.replayed,
        "calls_read_ahead": progress.read_ahead,
        "calls_tried_again": progress.retries,
        "peak_calls_in_flight": progress.peak_in_flight,
        **money,
        "tokens_in": usage.prompt_tokens,
        "tokens_in_cached": usage.cached_tokens,
        "tokens_out": usage.completion_tokens,
        "tokens_reasoning": usage.reasoning_tokens,
        # A drive that was replayed whole sent no tokens.
        "tokens_in_cached_share": round(progress.cached_share or 0.0, 4),
        "seconds": round(seconds, 2),
        "duration": describe_seconds(seconds),
        "rows_per_second": round(rows_per_second, 2),
        # What was read ahead took no time of this step.
        "calls_per_second": round(rates.calls, 2),
        "tokens_in_per_second": round(rates.tokens_in, 1),
        "tokens_out_per_second": round(rates.tokens_out, 1),
        **_server_metadata(progress.load, seconds),
    }


def _server_metadata(load: ServerLoad | None, seconds: float) -> dict[str, Any]:
    """What the model server reported; it may have served other runs as well."""
    metadata: dict[str, Any] = {}
    if load is None:
        return metadata
    if load.gpus:
        metadata["gpu_seconds"] = round(load.gpus * seconds, 1)
    # Fewer than two samples of the server's load span no time, so there are no rates.
    if not load.seconds:
        return metadata
    metadata["server_tokens_per_second"] = round(load.tokens_per_second, 1)
    metadata["server_queue_share"] = round(load.queue_share, 4)
    metadata["server_calls_in_flight"] = dg.MetadataValue.md(calls_in_flight(load))
    if load.prefix_share is not None:
        metadata["server_prefix_share"] = round(load.prefix_share, 4)
    return metadata


def signature_metadata(rows: Sequence[Record]) -> dict[str, Any]:
    """Counts of the failure signatures that the paper names, in rows that passed."""
    metadata: dict[str, Any] = {}
    # By the class of its rows, a stage that was added from outside is counted like its parent.
    deliberated = [row for row in rows if isinstance(row, DeliberatedCot)]
    refined = [row for row in rows if isinstance(row, RefinedCot)]
    if deliberated:
        metadata["stalled_deliberations"] = sum(row.stalled for row in deliberated)
        agreed = [row for row in deliberated if row.outcome == "consensus"]
        metadata["ended_by_consensus"] = len(agreed)
        metadata["turns_taken"] = sum(len(row.turns) for row in deliberated)
    if refined:
        verdicts: Counter[str] = Counter()
        for row in refined:
            for judgement in row.judgements:
                verdicts[str(judgement.verdict)] += 1
        kept = verdicts[ThoughtVerdict.KEEP]
        metadata["thoughts_kept"] = kept
        metadata["thoughts_dropped"] = verdicts.total() - kept
        metadata["verdicts"] = count_table(verdicts, "verdict")
        resting_on_dropped = sum(row.rests_on_dropped for row in refined)
        metadata["rests_on_dropped_thoughts"] = resting_on_dropped
    return metadata


def transcript_metadata(
    definition: StageDefinition, rows: Sequence[Record]
) -> dict[str, Any]:
    """Two rows to read: the shortest and the median of those in which something happened."""
    if not rows or definition.transcript is None:
        return {}
    eventful = [row for row in rows if _is_eventful(row)]
    # Better two plain rows than none.
    candidates = eventful or rows
    pages = [definition.transcript(row) for row in candidates]
    # The text breaks ties, so the same rows always show the same two pages.
    pages.sort(key=lambda page: (len(page), page))
    # A batch of one row has the same page twice.
    shortest = pages[0]
    median = pages[len(pages) // 2]
    sample = dict.fromkeys((shortest, median))
    metadata = {}
    for number, page in enumerate(sample, start=1):
        metadata[f"transcript_{number}"] = dg.MetadataValue.md(page)
    return metadata


def _is_eventful(row: Record) -> bool:
    """Tell whether a thought was dropped, or more than one agent spoke."""
    if isinstance(row, RefinedCot):
        verdicts = {judgement.verdict for judgement in row.judgements}
        return bool(verdicts - {ThoughtVerdict.KEEP})
    return isinstance(row, DeliberatedCot) and len(row.turns) > 1


def grade_metadata(rows: Sequence[CotGrades]) -> dict[str, Any]:
    """Mean scores by version, comparisons, and questions that got no valid answer."""
    grades: dict[str, list[Grade]] = {}
    outcomes: Counter[str] = Counter()
    for row in rows:
        for grade in row.grades:
            grades.setdefault(grade.version, []).append(grade)
        for comparison in row.comparisons:
            pair = f"{comparison.version} against {comparison.against}"
            outcomes[f"{pair}: {comparison.outcome}"] += 1
    lines = []
    for metric in METRICS:
        line: dict[str, Any] = {"metric": metric}
        for version, version_grades in grades.items():
            scores = [getattr(grade, metric).score for grade in version_grades]
            line[version] = round(fmean(scores), 3)
        lines.append(line)
    policy_score = 0.0
    if rows:
        policy_score = fmean(row.policy_score for row in rows)
    return {
        "mean_scores": record_table(lines),
        "comparisons": count_table(outcomes, "outcome"),
        "grades": sum(len(row.grades) for row in rows),
        "ungraded": sum(len(row.ungraded) for row in rows),
        "refined_policy_score": round(policy_score, 4),
    }


def floor_metadata(gate: ScoreGate, failures: Sequence[Failure]) -> dict[str, Any]:
    """How many rows of the batch each floor of the score gate took."""
    below = [row for row in failures if row.reason is FailureReason.BELOW_SCORE]
    counts = count_by_floor(row.detail for row in below)
    lines: list[dict[str, Any]] = []
    for metric, floor in gate.floors.items():
        lines.append({"metric": str(metric), "floor": floor} | _taken(counts, metric))
    if gate.floors:
        lines.append({"metric": NO_GRADE, "floor": None} | _taken(counts, NO_GRADE))
    columns = ("metric", "floor", "sft_rows", "dpo_rows")
    return {
        "rows_below_floors": len(below),
        "rows_taken_by_floors": record_table(lines, columns),
    }


def _taken(counts: FloorCounts, missed: str) -> dict[str, int]:
    return {
        "sft_rows": counts.missed["sft"][missed],
        "dpo_rows": counts.missed["dpo"][missed],
    }


def threshold_metadata(grades: Sequence[CotGrades]) -> dict[str, Any]:
    """How many refined rows a score gate would keep, by metric and threshold."""
    scores = [refined_scores(row) for row in grades]
    if not scores:
        return {}
    lines = []
    for metric in METRICS:
        line: dict[str, Any] = {"metric": metric}
        for threshold in range(1, 6):
            kept = sum(row_scores[metric] >= threshold for row_scores in scores)
            line[f"≥ {threshold}"] = kept
        lines.append(line)
    return {"kept_by_score_gate": record_table(lines)}


def counterfactual_metadata(rows: Sequence[PolicyCounterfactual]) -> dict[str, Any]:
    """What answers come to under the two sets, and how many training rows the pairs make."""
    outcomes = Counter(f"{row.first_outcome} → {row.second_outcome}" for row in rows)
    return {
        "outcomes_first_to_second": count_table(outcomes, "outcomes"),
        "counterfactual_sft_rows": 2 * len(rows),
        "counterfactual_dpo_rows": sum(len(row.wrong_under) for row in rows),
    }


def pair_metadata(pairs: Sequence[PreferencePair]) -> dict[str, Any]:
    """Margins of the pairs, beside those of plain sampling, and the lengths of their sides."""
    if not pairs:
        return {}
    return {**_margin_metadata(pairs), **_ratio_metadata(pairs)}


def _ratio_metadata(pairs: Sequence[PreferencePair]) -> dict[str, Any]:
    """Tokens of chosen CoT and response by those of the rejected ones."""
    ratios = [pair.length_ratio for pair in pairs]
    longer = sum(ratio > 1 for ratio in ratios)
    return {
        "length_ratio_mean": round(fmean(ratios), 4),
        "length_ratio_p50": round(median(ratios), 4),
        "chosen_is_longer": round(longer / len(ratios), 4),
    }


def _margin_metadata(pairs: Sequence[PreferencePair]) -> dict[str, Any]:
    margins = [pair.margin for pair in pairs]
    plain_margins = []
    for pair in pairs:
        if pair.plain_scores:
            # Neither of two plain answers is the chosen one, so their margin has no sign.
            first, second = pair.plain_scores
            plain_margins.append(abs(first - second))
    metadata: dict[str, Any] = {
        "pairs_by_kind": count_table(Counter(pair.kind for pair in pairs), "kind"),
        "margin_mean": round(fmean(margins), 4),
    }
    if plain_margins:
        metadata["plain_margin_mean"] = round(fmean(plain_margins), 4)
        metadata["plain_rows"] = len(plain_margins)
    metadata["margins"] = dg.MetadataValue.md(margin_histogram(margins, plain_margins))
    return metadata


def count_table(counts: Mapping[str, int], label: str) -> dg.TableMetadataValue:
    """Return counts as a table, most frequent first. An empty one still has its columns."""
    # Equal counts go by name, so the same rows give the same table.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    records = []
    for key, count in ordered:
        records.append(dg.TableRecord({label: key, "count": count}))
    columns = [dg.TableColumn(label, "string"), dg.TableColumn("count", "int")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def record_table(
    lines: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()
) -> dg.TableMetadataValue:
    """Return dictionaries as a table. `columns` are needed where there may be no line."""
    records = [dg.TableRecord(dict(line)) for line in lines]
    if not columns:
        return dg.MetadataValue.table(records)
    schema = dg.TableSchema([dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records, schema=schema)
