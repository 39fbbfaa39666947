"""Asset `fine_tune_splits`."""

from collections import Counter
from typing import Any

import dagster as dg

from aidsafe_dagster.assets.described import stage_asset
from aidsafe_dagster.assets.dialogue_stage import Made
from aidsafe_dagster.assets.gates import GateConfig, require_gate
from aidsafe_dagster.assets.metadata import REHEARSAL_LABEL, row_metadata, table
from aidsafe_dagster.assets.preference_pairs import preference_pairs
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.recipe.fine_tune_splits import dpo_row, sft_row
from aidsafe_dagster.recipe.records import Failure, FineTuneRow, PreferencePair, RefinedCot, Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.tables import from_frame, to_frame


@stage_asset(Stage.FINE_TUNE_SPLITS, deps=[refined_cots, preference_pairs])
def fine_tune_splits(
    context: dg.AssetExecutionContext, config: GateConfig, lake: LakeResource, settings: SettingsResource
) -> Made:
    """SFT rows (prompt → CoT + response) and DPO rows (chosen, rejected) as TRL trains on them, split by prompt."""
    opened, batch = lake.open(), context.partition_key
    overridden = require_gate(context, opened, Stage.FINE_TUNE_SPLITS, accept=config.accept_failed_gate)
    shares = settings.load().splits
    refined = from_frame(opened.rows(Stage.REFINED_COTS, batch), RefinedCot)
    pairs = from_frame(opened.rows(Stage.PREFERENCE_PAIRS, batch), PreferencePair)
    rows = [*(sft_row(row, shares) for row in refined), *(dpo_row(pair, shares) for pair in pairs)]
    opened.write(Stage.FINE_TUNE_SPLITS, batch, to_frame(rows, FineTuneRow), to_frame([], Failure))
    label: dict[str, Any] = (
        {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if any(row.simulated for row in rows) else {}
    )
    counts = Counter(f"{row.kind}/{row.split}" for row in rows)
    return dg.MaterializeResult(
        metadata={
            **label,
            **row_metadata(rows, []),
            "splits": table(counts, "split"),
            "path": dg.MetadataValue.path(str(opened.rows_path(Stage.FINE_TUNE_SPLITS, batch))),
        }
        | overridden,
        data_version=dg.DataVersion(opened.fingerprint(Stage.FINE_TUNE_SPLITS, batch)),
    )
