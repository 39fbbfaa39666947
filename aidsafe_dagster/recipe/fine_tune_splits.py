"""Fine-tune splits: SFT and DPO rows in the format that TRL trains on, split by prompt.

A prompt is in one split for ever: the split is a function of its id alone, so adding batches moves no row, and the SFT
and DPO rows of a prompt stay together. Near duplicates never get this far (see `sources.duplicates`).
"""

import hashlib
from typing import Literal

from pydantic import model_validator

from aidsafe_dagster.recipe.records import (
    FineTuneRow,
    Made,
    Message,
    Origin,
    PreferencePair,
    Record,
    RefinedCot,
    Usage,
)
from aidsafe_dagster.recipe.seed_cots import cot_text

Split = Literal["train", "validation", "test"]


class SplitSettings(Record):
    """Shares of the prompts; what is left over is the train split."""

    validation: float = 0.05
    test: float = 0.05

    @model_validator(mode="after")
    def _leaves_a_train_split(self) -> "SplitSettings":
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise ValueError("validation and test are shares of at least 0 whose sum is below 1")
        return self


def split_of(prompt_id: str, settings: SplitSettings) -> Split:
    """The split of a prompt, by its id."""
    digest = hashlib.blake2b(f"split:{prompt_id}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    if place < settings.test:
        return "test"
    return "validation" if place < settings.test + settings.validation else "train"


def with_thinking(cot: str, response: str) -> str:
    """An assistant turn with its reasoning inline, as reasoning models' chat templates expect it."""
    return f"<think>\n{cot}\n</think>\n\n{response}"


def sft_row(refined: RefinedCot, settings: SplitSettings) -> FineTuneRow:
    """prompt → CoT + response."""
    thinking = cot_text(refined.thoughts)
    return FineTuneRow(
        **_lineage(refined),
        kind="sft",
        split=split_of(refined.prompt_id, settings),
        messages=(_user(refined.prompt), _assistant(thinking, refined.response)),
        prompt=None,
        chosen=None,
        rejected=None,
        thinking=thinking,
        response=refined.response,
    )


def dpo_row(pair: PreferencePair, settings: SplitSettings) -> FineTuneRow:
    """prompt → chosen and rejected CoT + response."""
    return FineTuneRow(
        **_lineage(pair),
        kind="dpo",
        split=split_of(pair.prompt_id, settings),
        messages=None,
        prompt=(_user(pair.prompt),),
        chosen=(_assistant(pair.chosen_cot, pair.chosen_response),),
        rejected=(_assistant(pair.rejected_cot, pair.rejected_response),),
        thinking=pair.chosen_cot,
        response=pair.chosen_response,
    )


def _lineage(row: RefinedCot | PreferencePair) -> dict[str, object]:
    cost = {"usage", "redraws"}  # a split is made without calls of its own
    return row.model_dump(include={*Origin.model_fields, *Made.model_fields} - cost) | {"usage": Usage()}


def _user(text: str) -> Message:
    return Message(role="user", content=text)


def _assistant(cot: str, response: str) -> Message:
    return Message(role="assistant", content=with_thinking(cot, response))
