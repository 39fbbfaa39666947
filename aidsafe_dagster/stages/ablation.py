"""Ablations: the same sample of prompts through variants of the recipe, one variant after another.

Variants run in sequence, so that what a variant shares with the pipeline, or with the variant
before it, is in the journal by the time it is needed. The first variant is what the others are
compared with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.quality.statistics import (
    Estimate,
    mean_interval,
    paired_difference,
)
from aidsafe_dagster.recipe.ablations import AblationRow, Redraws, Variant, run_variant
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import METRICS, Failure, Prompt, Stage, Usage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import record_table, row_metadata
from aidsafe_dagster.stages.plots import estimates_plot
from aidsafe_dagster.stages.progress_log import ProgressLog

AS_CONFIGURED = "as configured"
_SCORES = (*METRICS, "policy_score")
_STAGES_MEASURED = (
    Stage.SINGLE_LLM_COTS,
    Stage.SEED_COTS,
    Stage.DELIBERATED_COTS,
    Stage.REFINED_COTS,
    Stage.COT_GRADES,
)


class AblationConfig(dg.Config):
    sample: int = Field(
        default=50,
        ge=1,
        description="prompts to take: the same ones every time, and in every ablation",
    )
    batches: list[str] = Field(
        default=[],
        description="batches to take them from; empty: all with refined CoTs",
    )


@dataclass(frozen=True)
class PlannedVariant:
    """A variant, and the engine that answers it where that is not the run's own."""

    variant: Variant
    engine: EngineResource | None = None


@dataclass(frozen=True)
class VariantResult:
    """The rows and failures of one variant."""

    name: str
    rows: Sequence[AblationRow]
    failures: Sequence[Failure]
    progress: Progress


def run_ablation(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
    plan: Sequence[PlannedVariant],
    extra_metadata: Mapping[str, Any] | None = None,
) -> Materialized:
    """Run the variants on the same sample and show them side by side."""
    opened = lake.open()
    snapshot = engine.snapshot
    sample = sample_prompts(opened, config)
    redraws = _stored_redraws(opened, sample)
    results = []
    for planned in plan:
        variant_engine = planned.engine or engine
        results.append(
            _run_variant(context, variant_engine, planned.variant, sample, redraws)
        )
    name = context.asset_key.to_user_string()
    path = _write_rows(snapshot.settings.reports, name, results)
    rows = _all_rows(results)
    simulated = any(row.simulated for row in rows)
    metadata = _metadata(results, path)
    if extra_metadata:
        metadata |= extra_metadata
    return materialized(snapshot, metadata, simulated=simulated)


def sample_prompts(lake: Lake, config: AblationConfig) -> list[Prompt]:
    """Return prompts that came through to a refined CoT, by the hash of their ids.

    A larger sample contains the smaller one.

    Raises:
        SetupError: there is no such batch, or nothing has been made yet.
    """
    finished = lake.batches(Stage.REFINED_COTS)
    for batch in sorted(config.batches):
        if batch not in finished:
            raise unknown("batch", batch, finished, "ablation")
    prompts: list[Prompt] = []
    for batch in config.batches or finished:
        refined = lake.rows(Stage.REFINED_COTS, batch, ["prompt_id"])
        refined_ids = set(refined["prompt_id"])
        for prompt in lake.records(Stage.PROMPTS, batch, Prompt):
            if prompt.prompt_id in refined_ids:
                prompts.append(prompt)
    if not prompts:
        raise SetupError(
            f"{lake.root}: no refined CoTs yet to take a sample from; make a batch first"
        )
    prompts.sort(key=lambda prompt: hash_rank("ablation", prompt.prompt_id))
    return prompts[: config.sample]


def _stored_redraws(lake: Lake, sample: Sequence[Prompt]) -> dict[str, Redraws]:
    """Return, by prompt id, where the pipeline drew again: a variant then asks what it asked."""
    calls: dict[str, dict[Stage, tuple[int, ...]]] = {
        prompt.prompt_id: {} for prompt in sample
    }
    sampled_batches = {prompt.batch for prompt in sample}
    for stage in _STAGES_MEASURED:
        # A batch may lack a stage: the baseline and the grades are not needed for a sample.
        stored_batches = sampled_batches & set(lake.batches(stage))
        for batch in sorted(stored_batches):
            rows = lake.rows(stage, batch, ["prompt_id", "redraws"])
            stored = rows.select("prompt_id", "redraws")
            for prompt_id, redraws in stored.iter_rows():
                if prompt_id in calls:
                    calls[prompt_id][stage] = tuple(redraws)
    return {prompt_id: Redraws(by_stage) for prompt_id, by_stage in calls.items()}


def _run_variant(
    context: dg.AssetExecutionContext,
    engine: EngineResource,
    variant: Variant,
    sample: Sequence[Prompt],
    redraws: Mapping[str, Redraws],
) -> VariantResult:
    engine.check_context(_STAGES_MEASURED, context.log.warning, variant.deliberation)
    dialogue_context = engine.dialogue_context()
    grading = engine.snapshot.settings.grading
    tasks = []
    for prompt in sample:
        # The driver labels a failure with this stage. A variant spans several, so the last one
        # stands for all, and the detail of the failure names the stage that failed.
        conversation = Conversation(dialogue_context, Stage.COT_GRADES, prompt)
        own_redraws = redraws[prompt.prompt_id]
        dialogue = run_variant(dialogue_context, prompt, variant, own_redraws, grading)
        tasks.append(DialogueTask(conversation, dialogue))
    currency = engine.snapshot.settings.currency
    subject = f"{len(sample)} prompts"
    progress_log = ProgressLog(context.log, variant.name, subject, currency)
    results, progress = engine.drive(tasks, progress_log, context.log.info)
    progress_log.log_end(progress)
    rows = [result for result in results if isinstance(result, AblationRow)]
    failures = [result for result in results if isinstance(result, Failure)]
    return VariantResult(variant.name, rows, failures, progress)


def _write_rows(folder: Path, name: str, results: Sequence[VariantResult]) -> Path:
    """Write every row of every variant as one Parquet file; return its path."""
    rows = _all_rows(results)
    path = folder / f"{name}.parquet"
    with atomic_write(path) as temporary:
        to_frame(rows, AblationRow).write_parquet(temporary)
    return path


def _all_rows(results: Sequence[VariantResult]) -> list[AblationRow]:
    rows: list[AblationRow] = []
    for result in results:
        rows.extend(result.rows)
    return rows


def _metadata(results: Sequence[VariantResult], path: Path) -> dict[str, Any]:
    failures: list[Failure] = []
    for result in results:
        failures.extend(result.failures)
    reference, *others = results
    scores = [_scores(result) for result in results]
    differences = [_differences(result, reference) for result in others]
    costs = [_cost(result) for result in results]
    # A plan of one variant has no differences, and an empty table needs its columns named.
    difference_columns = () if differences else ("variant",)
    return {
        **row_metadata(_all_rows(results), failures),
        "quality": record_table(scores),
        "difference": record_table(differences, columns=difference_columns),
        "cost": record_table(costs),
        "policy_to_cot": dg.MetadataValue.md(_policy_to_cot_plot(results)),
        "calls_made": sum(result.progress.calls_made for result in results),
        "calls_replayed": sum(result.progress.replayed for result in results),
        "path": dg.MetadataValue.path(str(path)),
    }


def _scores(result: VariantResult) -> dict[str, Any]:
    """Mean scores with 95 % bootstrap intervals."""
    line: dict[str, Any] = {
        "variant": result.name,
        "rows": len(result.rows),
        "failed": len(result.failures),
    }
    for name in _SCORES:
        scores = [getattr(row, name) for row in result.rows]
        line[name] = format_estimate(mean_interval(scores))
    return line


def _differences(result: VariantResult, reference: VariantResult) -> dict[str, Any]:
    """Mean differences on the prompts that both variants brought through."""
    reference_rows = {row.prompt_id: row for row in reference.rows}
    pairs = []
    # On the same prompts only. Otherwise the difference would compare prompts, not variants.
    for row in result.rows:
        if row.prompt_id in reference_rows:
            pairs.append((row, reference_rows[row.prompt_id]))
    line: dict[str, Any] = {
        "variant": f"{result.name} − {reference.name}",
        "prompts": len(pairs),
    }
    for name in (*_SCORES, "cot_tokens"):
        values = [getattr(row, name) for row, _ in pairs]
        reference_values = [getattr(row, name) for _, row in pairs]
        difference = paired_difference(values, reference_values)
        line[name] = format_estimate(difference, signed=True)
    return line


def _cost(result: VariantResult) -> dict[str, Any]:
    """Per row, the cost of making its CoT; and the calls of this run, with those for grading."""
    rows = result.rows
    # A variant in which every row failed still gets its line.
    count = max(len(rows), 1)
    cot_tokens = mean_interval([row.cot_tokens for row in rows])
    turns = sum(row.turns for row in rows)
    usage = sum((row.usage for row in rows), Usage())
    return {
        "variant": result.name,
        "cot_tokens": format_estimate(cot_tokens, digits=0),
        "deliberation_turns": round(turns / count, 2),
        "calls_per_row": round(usage.calls / count, 2),
        "tokens_in_per_row": round(usage.prompt_tokens / count),
        "cached_per_row": round(usage.cached_tokens / count),
        "tokens_out_per_row": round(usage.completion_tokens / count),
        "reasoning_per_row": round(usage.reasoning_tokens / count),
        "cost_per_row": round(usage.cost / count, 6),
        "calls_made": result.progress.calls_made,
        "calls_replayed": result.progress.replayed,
        "seconds": round(result.progress.seconds, 1),
    }


def format_estimate(
    estimate: Estimate | None, *, signed: bool = False, digits: int = 2
) -> str:
    """Return `4.27 [4.11, 4.42]`, or a dash without an estimate."""
    if estimate is None:
        return "–"
    sign = "+" if signed else ""
    number_format = f"{sign}.{digits}f"
    value = format(estimate.value, number_format)
    if estimate.low is None or estimate.high is None:
        return value
    low = format(estimate.low, number_format)
    high = format(estimate.high, number_format)
    return f"{value} [{low}, {high}]"


def _policy_to_cot_plot(results: Sequence[VariantResult]) -> str:
    """Plot the CoT's faithfulness to the policies, the one metric that discriminates (AIDSAFE)."""
    estimates = {}
    for result in results:
        estimate = mean_interval([row.policy_to_cot for row in result.rows])
        if estimate:
            estimates[result.name] = estimate
    title = "policy to CoT by variant, with 95 % intervals"
    return estimates_plot(title, estimates, "policy to CoT, 1–5")
