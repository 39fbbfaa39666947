"""Assets `sft_adapter` and `dpo_adapter`: what training on the fine-tune splits of all batches gives.

Only batches whose gate passed are trained on, and none with simulated rows unless the settings say so. Both assets are
unpartitioned, since an adapter is made from the whole dataset; it is kept under that dataset's version.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.fine_tune_splits import fine_tune_splits
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.dialogue_stage import Materialized
from aidsafe_dagster.stages.gates import passed
from aidsafe_dagster.stages.plots import picture
from aidsafe_dagster.stages.stage_asset import OWNERS
from aidsafe_dagster.training.adapter import Adapter, make_adapter
from aidsafe_dagster.training.card import SIMULATED
from aidsafe_dagster.training.curves import Curve, read_curves
from aidsafe_dagster.training.data import TrainingSet, write_training_set
from aidsafe_dagster.training.settings import Method

logger = logging.getLogger(__name__)


class AdapterConfig(dg.Config):
    force: bool = Field(
        default=False, description="train again although this very adapter is there already"
    )


@dataclass(frozen=True)
class Selected:
    """The batches that are trained on, and those that are left out."""

    batches: tuple[str, ...]
    closed: tuple[str, ...]
    """Their gate did not pass."""
    simulated: tuple[str, ...]
    """They hold rows of the rehearsal engine."""


@dg.asset(
    deps=[fine_tune_splits], group_name="training", kinds={"huggingface", "pytorch"}, owners=OWNERS
)
def sft_adapter(
    context: dg.AssetExecutionContext,
    config: AdapterConfig,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """A LoRA adapter of the base model, fine-tuned on prompt → policy-embedded CoT + response (TRL, QLoRA if asked)."""
    return _made(context, config, lake, settings, "sft")


@dg.asset(
    deps=[fine_tune_splits, sft_adapter],
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
    """The SFT adapter, trained on to prefer the chosen CoT + response to the rejected one (DPO, arXiv 2305.18290)."""
    return _made(context, config, lake, settings, "dpo")


train_adapters = dg.define_asset_job(
    "train_adapters",
    selection=dg.AssetSelection.assets(sft_adapter, dpo_adapter),
    description="Trains the SFT adapter and then the DPO adapter on all batches that passed their gates",
)


def _made(
    context: dg.AssetExecutionContext,
    config: AdapterConfig,
    lake: LakeResource,
    settings: SettingsResource,
    method: Method,
) -> Materialized:
    loaded, opened = settings.load(), lake.open()
    selected = select_batches(
        context.instance, opened, allow_simulated=loaded.training.allow_simulated
    )
    data = write_training_set(opened, selected.batches, loaded.home, loaded.splits.general_ratio)

    def tell(line: str) -> None:
        context.log.info(f"{method}: {line}")
        logger.info("%s: %s", method, line)  # for the terminal, which shows no event log

    tell(f"{data.rows[f'{method}_train']} rows to train on; {_told(selected)}")
    made = make_adapter(method, loaded.training, data, loaded.home, tell, force=config.force)
    return dg.MaterializeResult(
        metadata=_metadata(made, data, selected), data_version=dg.DataVersion(made.lineage.weights)
    )


def select_batches(instance: dg.DagsterInstance, lake: Lake, *, allow_simulated: bool) -> Selected:
    """The batches to train on.

    Raises:
        SetupError: there is none; the message says why.
    """
    made = lake.batches(Stage.FINE_TUNE_SPLITS)
    open_ = [batch for batch in made if passed(instance, lake, Stage.FINE_TUNE_SPLITS, batch)]
    simulated = [
        batch for batch in open_ if lake.rows(Stage.FINE_TUNE_SPLITS, batch)["simulated"].any()
    ]
    refused = [] if allow_simulated else simulated
    found = Selected(
        batches=tuple(batch for batch in open_ if batch not in refused),
        closed=tuple(batch for batch in made if batch not in open_),
        simulated=tuple(refused),
    )
    if found.batches:
        return found
    if not made:
        raise SetupError(
            "there is nothing to train on: no batch has fine_tune_splits yet (`aidsafe backfill`)"
        )
    hint = (
        "; simulated rows are not for training: make batches with a model, or set training.allow_simulated = true to "
        "rehearse the training too"
    )
    raise SetupError(f"there is nothing to train on: {_told(found)}{hint if refused else ''}")


def _told(selected: Selected) -> str:
    taken, closed, simulated = map(len, (selected.batches, selected.closed, selected.simulated))
    return f"batches: {taken} taken, {closed} left out for a closed gate, {simulated} left out as simulated"


def _metadata(made: Adapter, data: TrainingSet, selected: Selected) -> dict[str, Any]:
    lineage = made.lineage
    label = {"simulated": dg.MetadataValue.md(f"**{SIMULATED}**")} if lineage.simulated else {}
    gpu = {"gpu_seconds": lineage.seconds} if lineage.result["gpu"] else {}
    shown = {
        name: value
        for name, value in lineage.result.items()
        if isinstance(value, int | float | str)
    }
    curves = read_curves(made.folder)
    return {
        **label,
        **shown,
        **gpu,
        "rows": data.rows[f"{lineage.method}_train"],
        "dataset_version": lineage.dataset_version,
        "base_model": lineage.base_model,
        "batches": len(selected.batches),
        "batches_with_closed_gate": len(selected.closed),
        "batches_simulated_left_out": len(selected.simulated),
        "seconds": lineage.seconds,
        "reused": made.reused,
        "loss_curve": dg.MetadataValue.md(picture("loss over steps", _draw_losses(curves))),
        "path": dg.MetadataValue.path(str(made.folder)),
        "lineage": dg.MetadataValue.json(lineage.model_dump(mode="json", exclude={"result"})),
    }


def _draw_losses(curves: Mapping[str, Curve]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for name, label, colour in (
            ("loss", "train", "#4f43dd"),
            ("eval_loss", "validation", "#dd7a43"),
        ):
            if points := curves.get(name):
                axes.plot(
                    *zip(*points, strict=True), label=label, color=colour, marker=".", markersize=4
                )
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)

    return draw
