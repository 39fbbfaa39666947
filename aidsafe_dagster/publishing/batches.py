"""Read a batch for publishing: its fine-tune rows, with the rows of the stages behind them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.lake.translations import (
    translated_rows,
    without_known_in_evaluation,
)
from aidsafe_dagster.recipe.deliberation_log import DeliberationStory
from aidsafe_dagster.recipe.formats import is_ambiguous
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    FineTuneRow,
    PolicyCounterfactual,
    PreferencePair,
    RefinedCot,
    Row,
    Stage,
)
from aidsafe_dagster.recipe.translation import TranslatedRow

R = TypeVar("R", bound=Row)
_TEXT_COLUMNS = ["prompt_id", "thinking", "response"]
_COT_TEXT = (
    pl.col("thoughts").list.eval(pl.element().struct.field("text")).list.join("\n\n")
)
"""Joins the thoughts as the recipe does in fine-tune rows."""


@dataclass(frozen=True)
class Batch:
    """Fine-tune rows of a batch, ordered by prompt id.

    Rows of earlier stages are read on first use, and only those behind a published row.
    """

    lake: Lake
    key: str
    sft: tuple[FineTuneRow, ...]
    dpo: tuple[FineTuneRow, ...]
    ambiguous: int
    """Rows that are not published because their own text contains a think tag."""
    without_dpo: bool = False
    """Whether its pairs are behind a closed gate."""
    without_counterfactuals: bool = False
    """Whether its policy counterfactuals are."""
    translations: Mapping[str, TranslatedRow] = field(default_factory=dict)
    """Those whose rows are in it, by prompt id."""

    @property
    def rows(self) -> tuple[FineTuneRow, ...]:
        return (*self.sft, *self.dpo)

    @cached_property
    def pairs(self) -> Mapping[str, PreferencePair]:
        """Prompt id → preference pair, for the DPO rows; of a translation, its original's."""
        pairs = self.read_stage(Stage.PREFERENCE_PAIRS, PreferencePair)
        return {
            row.prompt_id: pairs[self.original_of(row)]
            for row in self.dpo
            if self.original_of(row) in pairs
        }

    @cached_property
    def counterfactuals(self) -> Mapping[str, PolicyCounterfactual]:
        """Prompt id → its answers under two sets of policies, for the SFT rows."""
        if self.without_counterfactuals:
            return {}
        pairs = self.read_stage(Stage.POLICY_COUNTERFACTUALS, PolicyCounterfactual)
        return {
            row.prompt_id: pairs[row.prompt_id]
            for row in self.sft
            if row.prompt_id in pairs
        }

    @cached_property
    def deliberations(self) -> tuple[tuple[FineTuneRow, DeliberationStory], ...]:
        """Each SFT row with its deliberation."""
        return tuple(
            (row, story)
            for row, story in self.stories
            if row.prompt_id not in self.translations
        )

    @cached_property
    def stories(self) -> tuple[tuple[FineTuneRow, DeliberationStory], ...]:
        """Each SFT row with the deliberation behind it; of a translation, its original's."""
        refined = self.read_stage(Stage.REFINED_COTS, RefinedCot)
        deliberated = self.read_stage(Stage.DELIBERATED_COTS, DeliberatedCot)
        stories = []
        for row in self.sft:
            original = self.original_of(row)
            if original in refined:
                story = DeliberationStory(refined[original], deliberated.get(original))
                stories.append((row, story))
        return tuple(stories)

    def original_of(self, row: FineTuneRow) -> str:
        """Return the id of the prompt that a row was made from, and not translated."""
        translation = self.translations.get(row.prompt_id)
        return translation.translated_from if translation else row.prompt_id

    def read_stage(self, stage: str, record: type[R]) -> dict[str, R]:
        """Return the rows of a stage behind the fine-tune rows, by the original's prompt id."""
        # A release does not require the deliberations, so they may no longer be in the lake.
        if not self.lake.has(stage, self.key):
            return {}
        ids = {self.original_of(row) for row in self.rows}
        frame = self.lake.rows(stage, self.key)
        frame = frame.filter(pl.col("prompt_id").is_in(list(ids)))
        return {row.prompt_id: row for row in from_frame(frame, record)}


def read_batch(
    lake: Lake,
    key: str,
    general: frozenset[str] | None = None,
    *,
    without_dpo: bool = False,
    without_counterfactuals: bool = False,
) -> Batch:
    """Read a batch from the lake.

    Args:
        lake: holds it.
        key: of the batch.
        general: prompts whose SFT rows are kept; None keeps all.
        without_dpo: the DPO rows are behind a closed gate, and are not read.
        without_counterfactuals: so are the policy counterfactuals.

    Raises:
        SetupError: a partition is missing.
    """
    # A hash of the published rows is the version, so their order must not depend on the file.
    frame = lake.rows(Stage.FINE_TUNE_SPLITS, key).sort("prompt_id", "kind")
    if without_dpo:
        frame = frame.filter(pl.col("kind") != "dpo")
    # They are in an evaluation set in other words.
    frame = without_known_in_evaluation(lake, key, frame)
    sft, dpo, ambiguous = [], [], 0
    for row in from_frame(frame, FineTuneRow):
        # First, so that the count depends on neither the kind nor the general mix.
        if is_ambiguous(row):
            ambiguous += 1
        elif row.kind == "dpo":
            dpo.append(row)
        elif general is None or row.prompt_id in general:
            sft.append(row)
    translations = {}
    for row, translation in translated_rows(lake, key, [*sft, *dpo]):
        if is_ambiguous(row):
            ambiguous += 1
            continue
        translations[row.prompt_id] = translation
        (dpo if row.kind == "dpo" else sft).append(row)
    return Batch(
        lake,
        key,
        tuple(sft),
        tuple(dpo),
        ambiguous,
        without_dpo,
        without_counterfactuals,
        translations,
    )


def with_train_prompts(batch: Batch, prompts: Collection[str]) -> Batch:
    """Return a batch whose train split has the rows of these prompts alone."""

    def chosen(rows: Sequence[FineTuneRow]) -> tuple[FineTuneRow, ...]:
        return tuple(
            row for row in rows if row.split != "train" or row.prompt_id in prompts
        )

    return replace(batch, sft=chosen(batch.sft), dpo=chosen(batch.dpo))


def outdated_kinds(lake: Lake, key: str) -> dict[str, str]:
    """Return the kinds of fine-tune rows that no longer match the earlier stages, with why."""
    rows = lake.rows(Stage.FINE_TUNE_SPLITS, key, ["kind", *_TEXT_COLUMNS])
    origins = {
        "sft": (Stage.REFINED_COTS, "thoughts", _COT_TEXT, "response"),
        "dpo": (
            Stage.PREFERENCE_PAIRS,
            "chosen_cot",
            pl.col("chosen_cot"),
            "chosen_response",
        ),
    }
    reasons = {}
    for kind, (stage, cot, thinking, response) in origins.items():
        rows_of_kind = rows.filter(kind=kind)
        # The pairs may never have been made, and then there are no DPO rows to match.
        if not rows_of_kind.height:
            continue
        if kind == "dpo" and not lake.has(stage, key):
            reasons[kind] = f"{stage} is no longer in the lake"
            continue
        frame = lake.rows(stage, key, ["prompt_id", cot, response])
        origin = frame.select("prompt_id", thinking=thinking, response=response)
        # Texts are compared and not fingerprints: a stage that was made again with the same texts
        # outdates nothing.
        unmatched = rows_of_kind.join(origin, on=_TEXT_COLUMNS, how="anti")
        if unmatched.height:
            reasons[kind] = f"{stage} was made again after fine_tune_splits"
    return reasons
