"""A lake with fine-tune rows behind open or closed gates, and a stand-in training environment."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.recipe.stages import STAGES
from tests.builders import a_dpo_row, an_sft_row
from tests.site import ROOT, Site, a_site

SPLITS = ("train", "train", "train", "validation", "test")


def stand_in(folder: Path) -> str:
    """Write an executable for the setting `training.python`."""
    file = folder / "stand-in-python"
    script = ROOT / "tests/training/stand_in.py"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    file.chmod(0o755)
    return str(file)


@contextmanager
def a_training_site(folder: Path, **training: Any) -> Iterator[Site]:
    """A site that trains the model `a-model` with the stand-in."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"python": stand_in(folder), "model": "a-model"}
    with a_site(folder, training=values | training) as site:
        yield site


def some_rows(count: int = 10, prefix: str = "p", **changes: Any) -> list[FineTuneRow]:
    """An SFT and a DPO row per prompt; three fifths of the prompts are in the train split."""
    rows = []
    for number in range(count):
        values = {
            "prompt_id": f"{prefix}{number}",
            "split": SPLITS[number % 5],
            **changes,
        }
        rows += [an_sft_row(**values), a_dpo_row(**values)]
    return rows


def put(lake: Lake, batch: str, rows: Sequence[FineTuneRow]) -> None:
    lake.write(Stage.FINE_TUNE_SPLITS, batch, to_frame(rows, FineTuneRow))


def pass_checks(site: Site, batch: str) -> None:
    """Report every check of a batch's fine-tune rows as passed, for the present bytes."""
    fingerprint = site.lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch)
    for suite in STAGES[Stage.FINE_TUNE_SPLITS].suites:
        site.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(str(Stage.FINE_TUNE_SPLITS)),
                check_name=suite,
                passed=True,
                metadata={"fingerprint": dg.MetadataValue.text(fingerprint)},
                partition=batch,
            )
        )


def put_checked(site: Site, batch: str, rows: Sequence[FineTuneRow]) -> None:
    put(site.lake, batch, rows)
    pass_checks(site, batch)
