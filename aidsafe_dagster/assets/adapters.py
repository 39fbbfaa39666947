"""Assets `sft_adapter` and `dpo_adapter`: adapters trained on the fine-tune splits of all batches.

Only batches behind an open gate are trained on, and none with simulated rows unless the settings
allow it. Both assets are unpartitioned, because an adapter is made from the whole dataset; it is
kept under that dataset's version.
"""

import logging
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.selection.store import train_prompts
from aidsafe_dagster.stages.batch_selection import (
    TrainingSelection,
    select_for_training,
)
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.plots import loss_curves
from aidsafe_dagster.stages.stage_asset import OWNERS
from aidsafe_dagster.training.adapter import Adapter, make_adapter
from aidsafe_dagster.training.card import SIMULATED_LABEL
from aidsafe_dagster.training.curves import read_curves
from aidsafe_dagster.training.data import Subset, TrainingSet, write_training_set
from aidsafe_dagster.training.settings import Method

logger = logging.getLogger(__name__)
_MAX_NAMED_REASONS = 5
_SPLITS = dg.AssetKey(str(Stage.FINE_TUNE_SPLITS))


class AdapterConfig(dg.Config):
    force: bool = Field(
        default=False,
        description="train again although this very adapter exists already",
    )
    rows: str = Field(
        default="all",
        description="of the train split: all, selected (by the selection in force), or random "
        "(the draw of the same size beside it)",
    )


@dg.asset(
    deps=[_SPLITS],
    group_name="training",
    kinds={"huggingface", "pytorch"},
    owners=OWNERS,
)
def sft_adapter(
    context: dg.AssetExecutionContext,
    config: AdapterConfig,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """A LoRA adapter of the base model, fine-tuned on prompt → policy-embedded CoT + response.

    Trained with TRL; QLoRA where the settings ask for it.
    """
    return _train(context, config, lake, settings, "sft")


@dg.asset(
    deps=[_SPLITS, sft_adapter],
    group_name="training",
    kinds={"huggingface", "pytorch"},
    owners=OWNERS,
)
def dpo_adapter(
    context: dg.AssetExecutionContext,
    config: AdapterConfig,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """The SFT adapter, trained further to prefer the chosen CoT + response to the rejected one.

    Direct preference optimization (DPO, arXiv 2305.18290).
    """
    return _train(context, config, lake, settings, "dpo")


train_adapters = dg.define_asset_job(
    "train_adapters",
    selection=dg.AssetSelection.assets(sft_adapter, dpo_adapter),
    description="Trains the SFT adapter, then the DPO adapter, on all batches behind open gates",
)


def _train(
    context: dg.AssetExecutionContext,
    config: AdapterConfig,
    lake: LakeResource,
    settings: SettingsResource,
    method: Method,
) -> Materialized:
    snapshot = settings.snapshot
    opened = lake.open()
    loaded = snapshot.settings
    selection = select_for_training(
        context.instance, opened, allow_simulated=loaded.training.allow_simulated
    )
    data = write_training_set(
        opened,
        selection.batches,
        loaded.home,
        loaded.splits.general_ratio,
        without_dpo=selection.without_dpo,
        subset=_subset(opened, config.rows, selection),
    )

    def log(line: str) -> None:
        context.log.info(f"{method}: {line}")
        # The terminal shows this logger, and no event log.
        logger.info("%s: %s", method, line)

    row_count = data.rows[f"{method}_train"]
    if method == "dpo" and not row_count and selection.without_dpo:
        raise SetupError(_why_no_pairs(selection))
    log(f"{row_count} rows to train on; {selection}")
    adapter = make_adapter(
        method,
        loaded.training,
        data,
        loaded.home,
        log,
        force=config.force,
        generation=loaded.generation.number,
    )
    return materialized(
        snapshot,
        _metadata(adapter, data, selection),
        # An adapter that was reused has the same weights, and leaves what follows up to date.
        data_version=adapter.lineage.weights,
        simulated=adapter.lineage.simulated,
        label=f"**{SIMULATED_LABEL}**",
    )


def _subset(lake: Lake, arm: str, selection: TrainingSelection) -> Subset | None:
    """Return the rows that an arm learns from; None: all.

    Raises:
        SetupError: there is no such arm, or no selection of the batches that are trained on.
    """
    prompts = train_prompts(lake, arm, selection.batches)
    if prompts is None:
        return None
    return Subset(arm, prompts)


def _why_no_pairs(selection: TrainingSelection) -> str:
    reasons = [f"{batch}: {why}" for batch, why in selection.without_dpo.items()]
    listed = "; ".join(reasons[:_MAX_NAMED_REASONS])
    return (
        "there is nothing to train on: no dpo row is in the train split, and these batches have "
        f"DPO rows behind a closed gate: {listed}"
    )


def _metadata(
    adapter: Adapter, data: TrainingSet, selection: TrainingSelection
) -> dict[str, Any]:
    lineage = adapter.lineage
    metadata: dict[str, Any] = {}
    for name, value in lineage.result.items():
        if isinstance(value, int | float | str):
            metadata[name] = value
    # On a CPU the seconds are no GPU-seconds, and a sum over runs must not count them.
    if lineage.result["gpu"]:
        metadata["gpu_seconds"] = lineage.seconds
    curves = loss_curves(read_curves(adapter.folder))
    # The result is shown above, figure by figure.
    parents = lineage.model_dump(mode="json", exclude={"result"})
    return metadata | {
        "rows": data.rows[f"{lineage.method}_train"],
        "rows_of": lineage.rows_of,
        "dataset_version": lineage.dataset_version,
        "base_model": lineage.base_model,
        "batches": len(selection.batches),
        "batches_with_closed_gate": len(selection.closed),
        "batches_without_dpo": len(selection.without_dpo),
        "batches_simulated_left_out": len(selection.simulated),
        "seconds": lineage.seconds,
        "reused": adapter.reused,
        "loss_curve": dg.MetadataValue.md(curves),
        "path": dg.MetadataValue.path(str(adapter.folder)),
        "lineage": dg.MetadataValue.json(parents),
    }
