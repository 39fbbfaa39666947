"""How a stage whose rows are dialogues is made: gate, read, drive, judge row by row, store, tell.

Failed rows are retried whenever the partition is made again: what they had answered well is replayed from the journal,
and the call that failed them is drawn anew. Rows that passed are replayed whole and cost nothing.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import dagster as dg
import polars as pl

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.lake.lake import RECORDS, Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.quality.predicates import CheckSettings, check_row
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, Prompt, Row, Stage, Usage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.runs.liveness import claim_run
from aidsafe_dagster.stages.dialogues import case_of
from aidsafe_dagster.stages.gates import UPSTREAM, GateConfig, require_gate
from aidsafe_dagster.stages.metadata import (
    REHEARSAL_LABEL,
    cost_metadata,
    coverage_metadata,
    length_metadata,
    row_metadata,
    signature_metadata,
    transcript_metadata,
)
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.stages_ahead import stages_ahead

T = TypeVar("T", bound=Row)
S = TypeVar("S")
logger = logging.getLogger(__name__)
Materialized = dg.MaterializeResult[Any]


def make_dialogue_stage(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
    stage: Stage,
) -> Materialized:
    """Makes one batch of a stage of which each row is made from one row of the stage above."""
    making, settings = begin(context, config, engine, lake, stage), engine.load()
    (upstream,) = UPSTREAM[stage]
    conversations = [
        (making.conversation(row), row) for row in making.read(upstream, RECORDS[upstream])
    ]
    cases = [case_of(stage, c, {upstream: row}, settings) for c, row in conversations]
    results, progress = making.drive(cases, then=stages_ahead(making))
    return making.store([case.conversation for case in cases], results, progress)


def begin(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
    stage: Stage,
) -> "StageRun":
    """The making of one batch of a stage, once its gate has been found open.

    Raises:
        dagster.Failure: the gate is closed.
    """
    claim_run(context.instance, context.run)
    opened, batch = lake.open(), context.partition_key
    overridden = require_gate(context, opened, stage, accept=config.accept_failed_gate)
    return StageRun(
        context,
        engine,
        opened,
        stage,
        batch,
        engine.brief(),
        _redraws(opened, stage, batch),
        overridden,
    )


@dataclass(frozen=True)
class StageRun:
    """One batch of a stage in the making."""

    context: dg.AssetExecutionContext
    engine: EngineResource
    lake: Lake
    stage: Stage
    batch: str
    brief: DialogueContext
    redraws: Mapping[str, tuple[int, ...]]
    overridden: Mapping[str, Any]

    def read(self, stage: Stage, record: type[Any]) -> list[Any]:
        """The batch's rows of another stage."""
        return from_frame(self.lake.rows(stage, self.batch), record)

    def conversation(self, row: Prompt) -> Conversation:
        return Conversation(self.brief, self.stage, row, self.redraws.get(row.prompt_id, ()))

    def redraws_of(self, stage: Stage) -> Mapping[str, tuple[int, ...]]:
        """Where rows of another stage are drawn anew; see `redraws`."""
        return _redraws(self.lake, stage, self.batch)

    def drive(
        self, cases: Sequence[DialogueTask[S]], what: str = "", then: Sequence[NextStage] = ()
    ) -> tuple[list[S | Failure], Progress]:
        """Runs the dialogues to their ends, with progress in the run's log; `then` may be read ahead meanwhile."""
        log = self.context.log
        log.info(
            f"{self.stage} {self.batch}: {what}{len(cases)} dialogues with the {self.brief.engine} engine"
        )
        told = ProgressLog(log, f"{self.stage}{f' {what.strip()}' if what else ''}", self.batch)
        results, progress = self.engine.drive(cases, told, log.info, then)
        log.info(told.line(progress))
        return results, progress

    def store(
        self,
        conversations: Sequence[Conversation],
        results: Sequence[T | Failure],
        progress: Progress,
        told: Callable[[Sequence[T]], Mapping[str, Any]] = lambda _: {},
    ) -> Materialized:
        """Judges row by row, writes the partition, and tells; `told` is what this stage has to tell beside the rest."""
        stage, batch = self.stage, self.batch
        rows, failures = _judged(conversations, results, self.brief, self.engine.load().checks)
        self.lake.write(stage, batch, to_frame(rows, RECORDS[stage]), to_frame(failures, Failure))
        found = _metadata(self.lake, stage, batch, rows, failures, self.brief, progress)
        return dg.MaterializeResult(
            metadata={**found, **told(rows), **self.overridden},
            data_version=dg.DataVersion(self.lake.fingerprint(stage, batch)),
        )


def in_total(parts: Sequence[Progress]) -> Progress:
    """Several drives of one stage as one: counts are added up, rows are those of the first, of which each ends."""
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
        started=parts[0].started,
    )


def _redraws(lake: Lake, stage: Stage, batch: str) -> dict[str, tuple[int, ...]]:
    """Per prompt, where to draw anew: of rows that failed, and of those that passed only after a redraw."""
    known = [_unless_damaged(lambda: lake.rows(stage, batch))] if lake.has(stage, batch) else []
    known.append(_unless_damaged(lambda: lake.failures(stage, batch)))
    frames = [frame.select("prompt_id", "redraws") for frame in known if "redraws" in frame.columns]
    return {prompt_id: tuple(turns) for frame in frames for prompt_id, turns in frame.iter_rows()}


def _unless_damaged(read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """No rows of a damaged file: it is made again from the other one and the journal."""
    try:
        return read()
    except SetupError as error:
        logger.warning("%s", error)
        return pl.DataFrame()


def _judged(
    conversations: Sequence[Conversation],
    results: Sequence[T | Failure],
    brief: DialogueContext,
    checks: CheckSettings,
) -> tuple[list[T], list[Failure]]:
    """The row gate: a row that a predicate fails goes to the failures and no further."""
    rows, failures = list[T](), list[Failure]()
    for conversation, result in zip(conversations, results, strict=True):
        if isinstance(result, Failure):
            failures.append(result)
        elif found := check_row(result, checks, brief.policies):
            failures.append(conversation.failure(*found, redraw=True))
        else:
            rows.append(result)
    return rows, failures


def _metadata(
    lake: Lake,
    stage: Stage,
    batch: str,
    rows: Sequence[Row],
    failures: Sequence[Failure],
    brief: DialogueContext,
    progress: Progress,
) -> dict[str, Any]:
    label = {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if brief.simulated else {}
    lengths = {
        column: [value for row in rows if isinstance(value := getattr(row, column, None), int)]
        for column in (
            "cot_tokens",
            "deliberated_cot_tokens",
            "chosen_cot_tokens",
            "rejected_cot_tokens",
        )
    }
    found: dict[str, Any] = {
        **label,
        **row_metadata(rows, failures),
        "engine": brief.engine,
        "tokens_counted_by": brief.tokens_counted_by,
        "models": ", ".join(sorted({row.model for row in rows})),
        **cost_metadata(progress),
        **signature_metadata(rows),
    }
    for column, values in lengths.items():
        found |= length_metadata(values, column)
    if any("applicable_policies" in type(row).model_fields for row in rows):
        found |= coverage_metadata(to_frame(rows, RECORDS[stage]), brief.policies)
    found |= transcript_metadata(rows)
    return found | {"path": dg.MetadataValue.path(str(lake.rows_path(stage, batch)))}
