"""How a stage whose rows are dialogues is made: gate, read, drive, judge row by row, store, tell.

Failed rows are retried whenever the partition is made again: what they had answered well is replayed from the journal,
and the call that failed them is drawn anew. Rows that passed are replayed whole and cost nothing.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import dagster as dg

from aidsafe_dagster.assets.gates import UPSTREAM, GateConfig, require_gate
from aidsafe_dagster.assets.metadata import (
    REHEARSAL_LABEL,
    cost_metadata,
    coverage_metadata,
    length_metadata,
    row_metadata,
    signature_metadata,
    transcript_metadata,
)
from aidsafe_dagster.assets.progress import ProgressLog
from aidsafe_dagster.engines.driver import Progress
from aidsafe_dagster.lake import RECORDS, Lake
from aidsafe_dagster.processes import claim_run
from aidsafe_dagster.quality.predicates import CheckSettings, check_row
from aidsafe_dagster.recipe.dialogue import Brief, Case, Conversation, Dialogue
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, Prompt, Row, Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.tables import from_frame, to_frame

T = TypeVar("T", bound=Row)
logger = logging.getLogger(__name__)
Made = dg.MaterializeResult[Any]


def make_dialogue_stage(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
    stage: Stage,
    dialogue: Callable[[Conversation, Any], Dialogue[T]],
) -> Made:
    """Makes one batch of a stage; `dialogue` is the recipe's generator for one row of the stage above."""
    claim_run(context.instance, context.run)
    opened, batch = lake.open(), context.partition_key
    overridden = require_gate(context, opened, stage, accept=config.accept_failed_gate)
    brief = engine.brief()
    cases = _cases(opened, stage, batch, brief, dialogue)
    context.log.info(f"{stage} {batch}: {len(cases)} dialogues with the {brief.engine} engine")
    progress_log = ProgressLog(context.log, stage, batch)
    results, progress = engine.drive(cases, progress_log, context.log.info)
    rows, failures = _judged(cases, results, brief, engine.load().checks)
    context.log.info(progress_log.line(progress))
    opened.write(stage, batch, to_frame(rows, RECORDS[stage]), to_frame(failures, Failure))
    return dg.MaterializeResult(
        metadata=_metadata(opened, stage, batch, rows, failures, brief, progress) | overridden,
        data_version=dg.DataVersion(opened.fingerprint(stage, batch)),
    )


def _cases(
    lake: Lake, stage: Stage, batch: str, brief: Brief, dialogue: Callable[[Conversation, Any], Dialogue[T]]
) -> list[Case[T]]:
    (upstream,) = UPSTREAM[stage]
    redraws = _redraws(lake, stage, batch)
    cases = []
    for row in from_frame(lake.rows(upstream, batch), RECORDS[upstream]):
        assert isinstance(row, Prompt)
        conversation = Conversation(brief, stage, row, redraws.get(row.prompt_id, ()))
        cases.append(Case(conversation, dialogue(conversation, row)))
    return cases


def _redraws(lake: Lake, stage: Stage, batch: str) -> dict[str, tuple[int, ...]]:
    """Per prompt, where to draw anew: of rows that failed, and of those that passed only after a redraw."""
    try:
        made = [lake.rows(stage, batch)] if lake.has(stage, batch) else []
        known = [*made, lake.failures(stage, batch)]
    except SetupError as error:  # a damaged partition is made again from nothing but the journal
        logger.warning("%s", error)
        known = []
    frames = [frame.select("prompt_id", "redraws") for frame in known if "redraws" in frame.columns]
    return {prompt_id: tuple(turns) for frame in frames for prompt_id, turns in frame.iter_rows()}


def _judged(
    cases: Sequence[Case[T]], results: Sequence[T | Failure], brief: Brief, checks: CheckSettings
) -> tuple[list[T], list[Failure]]:
    """The row gate: a row that a predicate fails goes to the failures and no further."""
    rows, failures = list[T](), list[Failure]()
    for case, result in zip(cases, results, strict=True):
        if isinstance(result, Failure):
            failures.append(result)
        elif found := check_row(result, checks, brief.policies):
            failures.append(case.conversation.failure(*found, redraw=True))
        else:
            rows.append(result)
    return rows, failures


def _metadata(
    lake: Lake,
    stage: Stage,
    batch: str,
    rows: Sequence[Row],
    failures: Sequence[Failure],
    brief: Brief,
    progress: Progress,
) -> dict[str, Any]:
    label = {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if brief.simulated else {}
    lengths = {
        column: [value for row in rows if isinstance(value := getattr(row, column, None), int)]
        for column in ("cot_tokens", "deliberated_cot_tokens", "chosen_cot_tokens", "rejected_cot_tokens")
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
