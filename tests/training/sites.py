"""A lake with fine-tune rows whose gates passed or did not, and the stand-in for the training environment."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.fine_tune_splits import join_thinking
from aidsafe_dagster.recipe.records import FineTuneRow, Message, Stage
from aidsafe_dagster.recipe.stages import STAGES
from tests.builders import a_dpo_row, an_sft_row
from tests.site import ROOT, Site, a_site

SPLITS = ("train", "train", "train", "validation", "test")


def stand_in(folder: Path) -> str:
    """An executable to be named as `training.python`."""
    file = folder / "stand-in-python"
    file.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "tests/training/stand_in.py"}" "$@"\n'
    )
    file.chmod(0o755)
    return str(file)


@contextmanager
def a_training_site(folder: Path, **training: Any) -> Iterator[Site]:
    """A site whose training is the stand-in's, on the model `a-model`."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"python": stand_in(folder), "model": "a-model"}
    with a_site(folder, training=values | training) as site:
        yield site


def some_rows(count: int = 10, prefix: str = "p", **changes: Any) -> list[FineTuneRow]:
    """An SFT and a DPO row of each of some prompts, three fifths of them in the train split."""
    rows = []
    for n in range(count):
        given = {"prompt_id": f"{prefix}{n}", "split": SPLITS[n % 5], **changes}
        rows += [an_sft_row(**given), a_dpo_row(**given)]
    return rows


def said(cot: str, response: str) -> tuple[Message, ...]:
    return (Message(role="assistant", content=join_thinking(cot, response)),)


def put(lake: Lake, batch: str, rows: Sequence[FineTuneRow]) -> None:
    lake.write(Stage.FINE_TUNE_SPLITS, batch, to_frame(rows, FineTuneRow))


def vouch(site: Site, batch: str) -> None:
    """Every check of a batch's fine-tune rows passed, on the bytes that are there."""
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
    vouch(site, batch)
