"""The training of a generation: the adapters that are due, and which ones there are afterwards."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from aidsafe_dagster.cli.console import print_paragraph, print_problem
from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.train import ADAPTERS, latest_log_line, print_adapters
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.batch_selection import select_for_training
from aidsafe_dagster.training.data import dataset_version
from aidsafe_dagster.training.generation import SpeakingAdapter
from aidsafe_dagster.training.lineage import read_lineage
from aidsafe_dagster.training.settings import Method


def train_generation(
    instance: dg.DagsterInstance, settings: Settings, number: int
) -> tuple[SpeakingAdapter, ...] | None:
    """Train what is due, and return the adapters of the generation; None if a training failed.

    Raises:
        SetupError: there is nothing to train on.
    """
    print_paragraph("── Train")
    folder = _folder(instance, settings)
    methods = _methods(settings)
    is_there = all(read_lineage(folder / method) for method in methods)
    _print_interrupted(settings, folder.name, methods)
    if settings.engine == "vllm" and not is_there:
        # It holds the memory that the training needs. The next run starts it again.
        _stop_server(settings)
    with latest_log_line():
        stages = [f"{method}_adapter" for method in methods]
        run = run_job(
            instance,
            "train_adapters",
            stages=() if len(stages) == len(ADAPTERS) else stages,
        )
    # First, because the SFT adapter may be there although DPO failed.
    print_adapters(instance, run.run_id)
    if not run.success:
        print_problem("✗ training", run.error)
        return None
    return tuple(_trained(settings, folder, methods, number))


def _methods(settings: Settings) -> Sequence[Method]:
    """Return what is trained: DPO alone where it goes on from an adapter."""
    if settings.training.dpo.from_adapter:
        return ("dpo",)
    return ("sft", "dpo")


def _folder(instance: dg.DagsterInstance, settings: Settings) -> Path:
    """Return the folder of the adapters that are trained on the rows as they are."""
    lake = Lake(settings.lake)
    selection = select_for_training(
        instance, lake, allow_simulated=settings.training.allow_simulated
    )
    version = dataset_version(
        lake,
        selection.batches,
        settings.splits.general_ratio,
        without_dpo=selection.without_dpo,
    )
    return settings.home / "adapters" / version


def _print_interrupted(
    settings: Settings, version: str, methods: Sequence[Method]
) -> None:
    """Say where a training that was cut off goes on, or that it begins again."""
    for method in methods:
        work = settings.home / "training" / version / method
        is_trained = (settings.home / "adapters" / version / method).is_dir()
        # The script writes its result last.
        if is_trained or not (work / "config.json").exists():
            continue
        checkpoints = sorted(work.glob("checkpoints/checkpoint-*/trainer_state.json"))
        if checkpoints:
            print_paragraph(
                f"The {method} training was cut off; it goes on from its last checkpoint."
            )
        else:
            print_paragraph(
                f"The {method} training was cut off before its first checkpoint; it begins again."
            )


def _stop_server(settings: Settings) -> None:
    from aidsafe_dagster.engines.vllm.server import VLLMServer

    if VLLMServer(settings.vllm, print_paragraph).stop():
        print_paragraph("The vLLM server is stopped, to make room for the training.")


def _trained(
    settings: Settings, folder: Path, methods: Sequence[Method], number: int
) -> list[SpeakingAdapter]:
    adapters = []
    for method in methods:
        lineage = read_lineage(folder / method)
        if lineage is None:
            continue
        adapter = SpeakingAdapter(
            name=settings.generation.name_of(number, method),
            weights=lineage.weights,
            folder=folder / method,
            generation=number,
            method=method,
            simulated=lineage.simulated,
        )
        adapters.append(adapter)
        print_paragraph(f"{method}: {adapter.label} in {shown(adapter.folder)}")
    return adapters
