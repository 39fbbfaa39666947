"""A batch as it is published: its fine-tune rows, with the rows of the stages they come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.deliberation_log import DeliberationStory
from aidsafe_dagster.recipe.formats import is_ambiguous
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    FineTuneRow,
    PreferencePair,
    RefinedCot,
    Row,
    Stage,
)

R = TypeVar("R", bound=Row)
_TEXTS = ["prompt_id", "thinking", "response"]
_TEXT_OF_THOUGHTS = (
    pl.col("thoughts").list.eval(pl.element().struct.field("text")).list.join("\n\n")
)
"""As `join_thoughts` joins them."""


@dataclass(frozen=True)
class Batch:
    """Rows in the order of their prompt ids. Of the stages above, only those that a published row comes from, and read
    only where they are asked for."""

    lake: Lake
    key: str
    sft: tuple[FineTuneRow, ...]
    dpo: tuple[FineTuneRow, ...]
    ambiguous: int
    """Rows that are not published: a text of theirs says a think tag."""

    @property
    def rows(self) -> tuple[FineTuneRow, ...]:
        return (*self.sft, *self.dpo)

    @cached_property
    def pairs(self) -> Mapping[str, PreferencePair]:
        return self._above(Stage.PREFERENCE_PAIRS, PreferencePair, self.dpo)

    @cached_property
    def deliberations(self) -> tuple[tuple[FineTuneRow, DeliberationStory], ...]:
        """The story of each SFT row."""
        refined = self._above(Stage.REFINED_COTS, RefinedCot, self.sft)
        deliberated = self._above(Stage.DELIBERATED_COTS, DeliberatedCot, self.sft)
        return tuple(
            (row, DeliberationStory(refined[row.prompt_id], deliberated.get(row.prompt_id)))
            for row in self.sft
            if row.prompt_id in refined
        )

    def _above(self, stage: str, record: type[R], rows: Iterable[FineTuneRow]) -> dict[str, R]:
        if not self.lake.has(stage, self.key):
            return {}
        ids = [row.prompt_id for row in rows]
        frame = self.lake.rows(stage, self.key).filter(pl.col("prompt_id").is_in(ids))
        return {row.prompt_id: row for row in from_frame(frame, record)}


def read_batch(lake: Lake, key: str, general: frozenset[str] | None = None) -> Batch:
    """The batch, from the lake; SFT rows only of the prompts in `general`, if it is given.

    Raises:
        SetupError: a partition is not there.
    """
    found = from_frame(
        lake.rows(Stage.FINE_TUNE_SPLITS, key).sort("prompt_id", "kind"), FineTuneRow
    )
    rows = [row for row in found if not is_ambiguous(row)]
    return Batch(
        lake=lake,
        key=key,
        sft=tuple(
            row
            for row in rows
            if row.kind == "sft" and (general is None or row.prompt_id in general)
        ),
        dpo=tuple(row for row in rows if row.kind == "dpo"),
        ambiguous=len(found) - len(rows),
    )


def outdated(lake: Lake, key: str) -> str | None:
    """Why the fine-tune rows are not those of the stages above as they lie in the lake now; None if they are."""
    rows = lake.rows(Stage.FINE_TUNE_SPLITS, key, ["kind", *_TEXTS])
    above = {
        "sft": (Stage.REFINED_COTS, "thoughts", _TEXT_OF_THOUGHTS, "response"),
        "dpo": (Stage.PREFERENCE_PAIRS, "chosen_cot", pl.col("chosen_cot"), "chosen_response"),
    }
    for kind, (stage, cot, thinking, response) in above.items():
        frame = lake.rows(stage, key, ["prompt_id", cot, response])
        there = frame.select("prompt_id", thinking=thinking, response=response)
        if rows.filter(kind=kind).join(there, on=_TEXTS, how="anti").height:
            return f"{stage} was made again after fine_tune_splits"
    return None
