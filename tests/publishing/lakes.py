"""A lake with finished batches of valid rows, written without a run."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.publishing.dataset import ReleaseSelection
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, dpo_row, sft_row
from aidsafe_dagster.recipe.records import Failure, PromptKind, Record, Stage
from aidsafe_dagster.recipe.stages import STAGES
from tests.builders import (
    a_cot_grades,
    a_counterfactual,
    a_deliberated_cot,
    a_pair,
    a_refined_cot,
)

SPLITS = SplitSettings(validation=0.25, test=0.25)


def an_id(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fill(
    lake: Lake,
    batch: str,
    prompts: int = 8,
    kind: PromptKind = "borderline",
    failures: tuple[Failure, ...] = (),
    **changes: Any,
) -> None:
    """Write every stage of a batch; `changes` apply to every row that has the column."""
    stages = (*_BUILDERS, Stage.FINE_TUNE_SPLITS)
    rows: dict[Stage, list[Record]] = {stage: [] for stage in stages}
    for number in range(prompts):
        text = f"How does lock {number} of {batch} work?"
        values = {
            "prompt_id": an_id(text),
            "prompt": text,
            "batch": batch,
            "source_row": f"{batch} {number}",
            "prompt_kind": kind,
            **changes,
        }
        records = {}
        for stage, build in _BUILDERS.items():
            records[stage] = build(**_known_fields(STAGES[stage].record, values))
            rows[stage].append(records[stage])
        sft = sft_row(records[Stage.REFINED_COTS], kind, SPLITS)
        dpo = dpo_row(records[Stage.PREFERENCE_PAIRS], SPLITS)
        rows[Stage.FINE_TUNE_SPLITS] += [sft, dpo]
    for stage, stage_rows in rows.items():
        stage_failures = [
            failure.model_copy(update={"batch": batch})
            for failure in failures
            if failure.stage == stage
        ]
        frame = to_frame(stage_rows, STAGES[stage].record)
        lake.write(stage, batch, frame, to_frame(stage_failures, Failure))


def a_filled_lake(folder: Path, *batches: str, **changes: Any) -> Lake:
    lake = Lake(folder / "lake")
    for batch in batches or ("demo-0001", "demo-0002"):
        fill(lake, batch, **changes)
    return lake


def all_batches(lake: Lake) -> ReleaseSelection:
    """Select every batch of the lake."""
    return ReleaseSelection(tuple(lake.batches(Stage.FINE_TUNE_SPLITS)), {}, {})


def publish_settings(**changes: Any) -> PublishSettings:
    values = {"repo": "acme/cot", "licence": "cc-by-4.0", "wait_s": 0.01}
    return PublishSettings.model_validate(values | changes)


_BUILDERS: dict[Stage, Callable[..., Any]] = {
    Stage.DELIBERATED_COTS: a_deliberated_cot,
    Stage.REFINED_COTS: a_refined_cot,
    Stage.COT_GRADES: a_cot_grades,
    Stage.PREFERENCE_PAIRS: a_pair,
    Stage.POLICY_COUNTERFACTUALS: a_counterfactual,
}


def _known_fields(record: type[Record], values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in values.items() if name in record.model_fields
    }
