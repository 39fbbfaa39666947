"""How a stage whose rows are dialogues is made: gate, read, drive, check row by row, store, report.

Making a partition again retries its failed rows: what they had answered well is replayed from the
journal, and the call that failed them is drawn again. Rows that passed are replayed whole and cost
nothing.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import dagster as dg
import polars as pl

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.lake.batch_recipes import store_recipe
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, Prompt, Record, Usage
from aidsafe_dagster.recipe.stages import RecordsByStage, StageDefinition, stage_named
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.stages.gates import GateConfig, require_gate
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import (
    cost_metadata,
    coverage_metadata,
    length_metadata,
    maker_metadata,
    row_metadata,
    signature_metadata,
    transcript_metadata,
)
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.read_ahead import stages_to_read_ahead
from aidsafe_dagster.stages.recipe_gate import (
    begin_recipe,
    recipe_metadata,
    with_recipe,
)
from aidsafe_dagster.stages.row_links import row_links

T = TypeVar("T", bound=Record)
S = TypeVar("S")
Metadata = Mapping[str, Any]
logger = logging.getLogger(__name__)


def make_dialogue_stage(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
    stage: str,
    extra_metadata: Callable[[Sequence[Any]], Metadata] = lambda _: {},
) -> Materialized:
    """Make one batch of a stage, each row from the records of one prompt.

    Args:
        context: of the asset.
        config: whether to go on past a closed gate.
        engine: answers the requests.
        lake: holds the stages that are read, and takes the rows.
        stage: a name in the table of stages.
        extra_metadata: what this stage shows of its rows besides what every stage shows.
    """
    run = start_stage(context, config, engine, lake, stage)
    tasks = []
    for row, records in run.inputs():
        conversation = run.conversation(row)
        task = run.definition.task(conversation, records, run.snapshot.settings)
        tasks.append(task)
    results, progress = run.drive(tasks, then=run.stages_to_read_ahead())
    conversations = [task.conversation for task in tasks]
    return run.finish(conversations, results, progress, extra_metadata)


def start_stage(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
    stage: str,
) -> "StageRun":
    """Begin one batch of a stage, once its gate is open.

    Raises:
        dagster.Failure: the gate is closed, or what stands before it is of another recipe.
        SetupError: a request of this run would not fit the context of its server.
    """
    opened = lake.open()
    overridden = require_gate(context, opened, stage, accept=config.accept_failed_gate)
    recipe = begin_recipe(context, opened, stage, engine.snapshot)
    # All stages of the run at once, so that none fails for it hours later.
    stages = {str(stage), *(context.run.step_keys_to_execute or ())}
    engine.check_context(stages, context.log.warning)
    return StageRun(
        context=context,
        engine=engine,
        lake=opened,
        definition=stage_named(stage),
        batch=context.partition_key,
        snapshot=engine.snapshot,
        dialogue_context=engine.dialogue_context(),
        redraws=stored_redraws(opened, stage, context.partition_key),
        overridden=overridden,
        recipe=recipe,
    )


@dataclass(frozen=True)
class StageRun:
    """One batch of a stage while it is being made."""

    context: dg.AssetExecutionContext
    engine: EngineResource
    lake: Lake
    definition: StageDefinition
    batch: str
    snapshot: SettingsSnapshot
    dialogue_context: DialogueContext
    redraws: Mapping[str, tuple[int, ...]]
    """By prompt id, the calls from which earlier runs drew again."""
    overridden: Metadata
    recipe: StageRecipe

    def inputs(self) -> Iterator[tuple[Any, RecordsByStage]]:
        """Yield, per row to make, the record that it begins with and all records of its prompt."""
        *others, first = self.definition.upstream
        tables = {stage: self.records_by_prompt(stage) for stage in others}
        for stage in self.definition.optional_upstream:
            if self.lake.has(stage, self.batch):
                tables[stage] = self.records_by_prompt(stage)
        for row in self.records(first):
            records = {first: row}
            # A prompt that failed at an optional stage, such as the baseline, goes on without it.
            for stage, table in tables.items():
                if row.prompt_id in table:
                    records[stage] = table[row.prompt_id]
            yield row, records

    def records(self, stage: str) -> list[Any]:
        """Return the batch's rows of another stage."""
        return self.lake.records(stage, self.batch, stage_named(stage).record)

    def records_by_prompt(self, stage: str) -> Mapping[str, Any]:
        return {row.prompt_id: row for row in self.records(stage)}

    def conversation(self, row: Prompt) -> Conversation:
        redraws = self.redraws.get(row.prompt_id, ())
        return Conversation(self.dialogue_context, self.definition.name, row, redraws)

    def stages_to_read_ahead(self) -> tuple[NextStage, ...]:
        """Return the stages whose calls may use the slots that this stage leaves free."""
        return stages_to_read_ahead(
            self.definition.name,
            lake=self.lake,
            batch=self.batch,
            settings=self.snapshot.settings,
            dialogue_context=self.dialogue_context,
            # Without this list nothing is known of the run, and so nothing is read ahead.
            stages_in_run=frozenset(self.context.run.step_keys_to_execute or ()),
            made_in_run=_stages_made(self.context),
            redraws_of=lambda stage: stored_redraws(self.lake, stage, self.batch),
        )

    def drive(
        self,
        tasks: Sequence[DialogueTask[S]],
        step: str = "",
        then: Sequence[NextStage] = (),
    ) -> tuple[list[S | Failure], Progress]:
        """Run the dialogues to their ends, with progress in the run's log.

        Args:
            tasks: the dialogues.
            step: the part of the stage that this is, where it has several.
            then: stages that may be read ahead meanwhile.
        """
        log = self.context.log
        name = str(self.definition.name)
        if step:
            name += f", {step}"
        currency = self.snapshot.settings.currency
        progress_log = ProgressLog(log, name, self.batch, currency)
        log.info(
            f"{name}, batch {self.batch}: "
            f"{len(tasks)} dialogues with the {self.dialogue_context.engine} engine"
        )
        try:
            results, progress = self.engine.drive(tasks, progress_log, log.info, then)
        except SetupError:
            # What was spent before the run stopped would otherwise be nowhere.
            progress_log.log_latest()
            raise
        progress_log.log_end(progress)
        return results, progress

    def finish(
        self,
        conversations: Sequence[Conversation],
        results: Sequence[T | Failure],
        progress: Progress,
        extra_metadata: Callable[[Sequence[T]], Metadata] = lambda _: {},
    ) -> Materialized:
        """Apply the row gate, write the partition, and report it."""
        stage = self.definition.name
        batch = self.batch
        passed, failures = self._apply_row_gate(conversations, results)
        rows = [with_recipe(row, self.recipe) for row in passed]
        frame = self.lake.store(stage, batch, rows, self.definition.record, failures)
        store_recipe(self.lake, self.recipe)
        metadata = {
            **self._metadata(rows, frame, failures, progress),
            **extra_metadata(rows),
            **recipe_metadata(self.recipe),
            **self.overridden,
        }
        return materialized(
            self.snapshot,
            metadata,
            data_version=self.lake.fingerprint(stage, batch),
            simulated=self.dialogue_context.simulated,
        )

    def _apply_row_gate(
        self, conversations: Sequence[Conversation], results: Sequence[T | Failure]
    ) -> tuple[list[T], list[Failure]]:
        """Part the finished rows from those that must go no further."""
        checks = self.snapshot.settings.checks
        rows: list[T] = []
        failures: list[Failure] = []
        for conversation, result in zip(conversations, results, strict=True):
            if isinstance(result, Failure):
                failures.append(result)
                continue
            failure = self.definition.gate_failure(result, conversation, checks)
            if failure is None:
                rows.append(result)
            else:
                failures.append(failure)
        return rows, failures

    def _metadata(
        self,
        rows: Sequence[Any],
        frame: pl.DataFrame,
        failures: Sequence[Failure],
        progress: Progress,
    ) -> dict[str, Any]:
        """Return what the UI shows of the rows, which `frame` holds as they were written."""
        path = self.lake.rows_path(self.definition.name, self.batch)
        return {
            **row_metadata(rows, failures),
            "engine": self.dialogue_context.engine,
            "tokens_counted_by": self.dialogue_context.tokens_counted_by,
            **maker_metadata(rows),
            **cost_metadata(progress, self.snapshot.settings.currency),
            **signature_metadata(rows),
            **length_metadata(rows),
            **coverage_metadata(frame, self.dialogue_context.policies),
            **transcript_metadata(self.definition, rows),
            "path": dg.MetadataValue.path(str(path)),
            **row_links(
                self.snapshot.settings,
                str(self.definition.name),
                self.batch,
                failed=len(failures),
            ),
        }


def _stages_made(context: dg.AssetExecutionContext) -> frozenset[str]:
    """Return the steps of the run that have succeeded, by key."""
    successes = context.instance.all_logs(
        context.run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS
    )
    return frozenset(entry.step_key for entry in successes if entry.step_key)


def total_progress(parts: Sequence[Progress]) -> Progress:
    """Return several drives of one stage as one."""
    # Later drives take up rows of the first one again, so its rows are all there are. Calls add up.
    return replace(
        parts[-1],
        rows=parts[0].rows,
        rows_done=parts[0].rows,
        calls_made=sum(part.calls_made for part in parts),
        replayed=sum(part.replayed for part in parts),
        read_ahead=sum(part.read_ahead for part in parts),
        retries=sum(part.retries for part in parts),
        peak_in_flight=max(part.peak_in_flight for part in parts),
        usage=sum((part.usage for part in parts), Usage()),
        usage_ahead=sum((part.usage_ahead for part in parts), Usage()),
        started=parts[0].started,
    )


def stored_redraws(lake: Lake, stage: str, batch: str) -> dict[str, tuple[int, ...]]:
    """By prompt id, the calls to draw again: of failed rows, and of those that passed after one."""
    frames = []
    if lake.has(stage, batch):
        frames.append(_read_or_empty(lambda: lake.rows(stage, batch)))
    frames.append(_read_or_empty(lambda: lake.failures(stage, batch)))
    redraws = {}
    for frame in frames:
        # A damaged file is an empty frame without columns.
        if "redraws" in frame.columns:
            for prompt_id, calls in frame.select("prompt_id", "redraws").iter_rows():
                redraws[prompt_id] = tuple(calls)
    return redraws


def _read_or_empty(read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """Take a damaged file as empty: its other file and the journal make the rest again."""
    try:
        return read()
    except SetupError as error:
        logger.warning("%s", error)
        return pl.DataFrame()
