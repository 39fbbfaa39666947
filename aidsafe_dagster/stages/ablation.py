"""Experiments: the same sample of prompts through variants of the recipe, one after another.

Variants run in sequence, so that what a variant shares with the pipeline, or with the variant
before it, is in the journal by the time it is needed. The first variant is what the others are
compared with.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.ablations.experiment import (
    Experiment,
    ExperimentResult,
    ExperimentVariant,
    TargetRow,
    VariantFailure,
)
from aidsafe_dagster.ablations.report import experiment_section, write_pages
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.ablations import AblationRow, Variant, run_variant
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import Failure, Prompt, Stage
from aidsafe_dagster.reports.markdown import section_markdown
from aidsafe_dagster.reports.sections import Section, Table
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.recipe_parts import recipe_parts
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.ablation_plans import (
    AblationConfig,
    plan_variants,
)
from aidsafe_dagster.stages.dialogue_stage import total_progress
from aidsafe_dagster.stages.ingestion import sealed_prompts
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import cost_metadata, record_table, row_metadata
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.roles import engine_with_roles


@dataclass(frozen=True)
class VariantResult:
    """The rows and failures of one variant."""

    name: str
    rows: Sequence[AblationRow] | Sequence[TargetRow]
    failures: Sequence[Failure]
    progress: Progress
    parts: Mapping[str, str]


@dataclass(frozen=True)
class AblationRun:
    """One experiment while it runs, with the resources of its asset."""

    context: dg.AssetExecutionContext
    engine: EngineResource
    lake: Lake
    settings: SettingsResource
    kind: str
    """Name of the experiment, as in `ablate_<kind>`."""
    sample: Sequence[Prompt]

    @property
    def snapshot(self) -> SettingsSnapshot:
        return self.engine.snapshot

    def engine_for(self, roles: Mapping[str, Any]) -> EngineResource:
        """Return the run's engine, or one with other models for some roles."""
        if not roles:
            return self.engine
        return engine_with_roles(self.engine, self.settings, roles)

    def finish(
        self,
        results: Sequence[VariantResult],
        extra_metadata: Mapping[str, Any] | None = None,
        *,
        simulated: bool,
    ) -> Materialized:
        """Keep the experiment, write its page, and report it."""
        settings = self.snapshot.settings
        result = _to_result(self, results, simulated=simulated)
        archive = ExperimentArchive(settings.home)
        archive.store(result)
        section = experiment_section(
            result, seed=settings.seed, resamples=settings.report.resamples
        )
        pages = write_pages(settings.reports, result, section)
        progress = total_progress([of_variant.progress for of_variant in results])
        metadata = {
            **row_metadata(result.rows, result.failures),
            **_table_metadata(section),
            "calls": record_table(map(_calls, results)),
            **cost_metadata(progress, settings.currency),
            **(extra_metadata or {}),
            "section": dg.MetadataValue.md(section_markdown(section)),
            "experiment": result.experiment.name,
            "path": dg.MetadataValue.path(str(archive.rows_path(result.experiment))),
            "html": dg.MetadataValue.path(str(pages.html)),
            "markdown": dg.MetadataValue.path(str(pages.markdown)),
        }
        return materialized(self.snapshot, metadata, simulated=simulated)


def start_ablation(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> AblationRun:
    """Draw the sample of an experiment.

    Raises:
        SetupError: there is no such batch, or there are no prompts.
    """
    opened = lake.open()
    in_force = engine.snapshot.settings
    sample = sample_prompts(opened, config, in_force)
    kind = context.asset_key.to_user_string().removeprefix("ablation_")
    return AblationRun(context, engine, opened, settings, kind, sample)


def run_variants(
    run: AblationRun,
    config: AblationConfig,
    extra_metadata: Mapping[str, Any] | None = None,
) -> Materialized:
    """Run the variants on the sample and show them side by side.

    Raises:
        SetupError: a variant cannot be made, or its requests would not fit their server.
    """
    plan = plan_variants(run.kind, run.snapshot.settings, config)
    prepared = []
    for planned in plan:
        engine = run.engine_for(planned.roles)
        # Before any variant is paid for: the last one may be what does not fit.
        stages = stages_of(planned.variant)
        log = run.context.log.warning
        engine.check_context(stages, log, planned.variant.deliberation)
        prepared.append((planned.variant, engine))
    results = [_run_variant(run, variant, engine) for variant, engine in prepared]
    simulated = run.engine.dialogue_context().simulated
    return run.finish(results, extra_metadata, simulated=simulated)


def sample_prompts(
    lake: Lake, config: AblationConfig, settings: Settings
) -> list[Prompt]:
    """Return prompts by the hash of their ids, whatever became of them in the pipeline.

    Those that failed are among them: the hard prompts are where variants differ. A larger sample
    contains the smaller one. Prompts for training alone are never among them.

    Raises:
        SetupError: there is no such batch, or there are no prompts.
    """
    known = sorted({*lake.batches(INGESTED), *lake.batches(Stage.PROMPTS)})
    for batch in sorted(config.batches):
        if batch not in known:
            raise unknown("batch", batch, known, "ablation")
    prompts: list[Prompt] = []
    for batch in config.batches or known:
        prompts += _prompts_of(lake, batch)
    if not prompts:
        raise SetupError(
            f"{lake.root}: there are no prompts yet to take a sample from; `aidsafe ingest` "
            "takes some in"
        )
    prompts = [prompt for prompt in prompts if not prompt.is_for_training_alone]
    if not prompts:
        raise SetupError(
            f"{lake.root}: benign twins and wrappers are for training alone, and these batches "
            "hold nothing else; choose others with --batch or --source"
        )
    prompts.sort(key=lambda prompt: hash_rank("ablation", prompt.prompt_id))
    return prompts[: config.sample or settings.ablation.sample]


def _prompts_of(lake: Lake, batch: str) -> list[Prompt]:
    """Return the prompts that entered the recipe; of a batch that is not made, all."""
    if lake.has(Stage.PROMPTS, batch):
        return lake.records(Stage.PROMPTS, batch, Prompt)
    return sealed_prompts(lake, batch)


def stages_of(variant: Variant) -> tuple[Stage, ...]:
    """Return the stages that a variant takes a prompt through."""
    if variant.single:
        return (Stage.SEED_COTS, Stage.SINGLE_LLM_COTS, Stage.COT_GRADES)
    refinement = (Stage.REFINED_COTS,) if variant.refined else ()
    return (Stage.SEED_COTS, Stage.DELIBERATED_COTS, *refinement, Stage.COT_GRADES)


def variant_parts(snapshot: SettingsSnapshot, variant: Variant) -> dict[str, str]:
    """Return what the rows of a variant are made under, by name."""
    own = snapshot.with_settings(deliberation=variant.deliberation)
    parts = parts_of_stages(own, stages_of(variant))
    parts["refined"] = str(variant.refined).lower()
    if variant.stop_after is not None:
        parts["cut off after"] = str(variant.stop_after)
    return parts


def parts_of_stages(
    snapshot: SettingsSnapshot, stages: Collection[str]
) -> dict[str, str]:
    """Return what the rows of some stages are made under, by name."""
    parts = {}
    for stage in stages:
        for part in recipe_parts(snapshot, stage):
            name = f"{part.of}: {part.name}" if part.of else part.name
            parts[name] = part.value
    return parts


def _run_variant(
    run: AblationRun, variant: Variant, engine: EngineResource
) -> VariantResult:
    log = run.context.log
    dialogue_context = engine.dialogue_context()
    settings = engine.snapshot.settings
    tasks = []
    for prompt in run.sample:
        conversation = Conversation(dialogue_context, Stage.SEED_COTS, prompt)
        dialogue = run_variant(conversation, variant, settings.grading, settings.checks)
        tasks.append(DialogueTask(conversation, dialogue))
    subject = f"{len(run.sample)} prompts"
    progress_log = ProgressLog(log, variant.name, subject, settings.currency)
    results, progress = engine.drive(tasks, progress_log, log.info)
    progress_log.log_end(progress)
    rows = [result for result in results if isinstance(result, AblationRow)]
    failures = [result for result in results if isinstance(result, Failure)]
    parts = variant_parts(engine.snapshot, variant)
    return VariantResult(variant.name, rows, failures, progress, parts)


def _to_result(
    run: AblationRun, results: Sequence[VariantResult], *, simulated: bool
) -> ExperimentResult:
    settings = run.snapshot.settings
    floors = {
        str(metric): floor for metric, floor in settings.score_gate.floors.items()
    }
    experiment = Experiment(
        kind=run.kind,
        variants=tuple(
            ExperimentVariant(name=result.name, parts=result.parts)
            for result in results
        ),
        prompt_ids=tuple(prompt.prompt_id for prompt in run.sample),
        batches=tuple(sorted({prompt.batch for prompt in run.sample})),
        floors=floors,
        currency=settings.currency,
        simulated=simulated,
    )
    rows: list[Any] = []
    failures = []
    for result in results:
        rows.extend(result.rows)
        for failure in result.failures:
            values = failure.model_dump()
            failures.append(VariantFailure(**values, variant=result.name))
    return ExperimentResult(experiment, rows, failures)


def _table_metadata(section: Section) -> dict[str, Any]:
    """Return the tables of a section, each under its title."""
    metadata = {}
    for table in section.tables:
        # What follows names a variant.
        title = table.title.partition(" «")[0]
        name = re.sub(r"\W+", "_", title).strip("_").lower()
        metadata[name] = record_table(_lines(table))
    return metadata


def _lines(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def _calls(result: VariantResult) -> dict[str, Any]:
    progress = result.progress
    return {
        "variant": result.name,
        "calls_made": progress.calls_made,
        "calls_replayed": progress.replayed,
        "seconds": round(progress.seconds, 1),
    }
