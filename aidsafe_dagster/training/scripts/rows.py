"""The rows of a training set: read from Parquet, checked against the model's chat template, never cut."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from adapter import CannotTrain
from datasets import Dataset

Conversation = list[dict[str, str]]
SPLITS = ("train", "validation", "test")


@dataclass
class Rows:
    train: Dataset
    validation: Dataset
    test: Dataset
    too_long: int
    """Rows of all splits that were left out for their length."""

    def each(self, change: Callable[[Dataset], Dataset]) -> "Rows":
        """The same with every split changed."""
        return replace(self, **{split: change(getattr(self, split)) for split in SPLITS})

    def counts(self) -> dict[str, int]:
        return {f"rows_{split}": len(getattr(self, split)) for split in SPLITS} | {
            "rows_too_long": self.too_long
        }


def read_rows(config: dict[str, Any], tokenizer: Any) -> Rows:
    """The splits, without the rows that are longer than `max_length`: a cut answer would teach not to stop.

    Raises:
        CannotTrain: the chat template drops the reasoning, or no row of the train split is short enough.
    """
    read = {split: Dataset.from_parquet(config["data"][split], split=split) for split in SPLITS}
    _require_reasoning_kept(tokenizer, next(iter(read["train"])), config["model"])

    def fitting(rows: Dataset) -> Dataset:
        return rows.filter(lambda row: _tokens(tokenizer, row) <= config["max_length"])

    fits = {split: fitting(rows) for split, rows in read.items()}
    if not len(fits["train"]):
        raise CannotTrain(
            f"every row of the train split is longer than training.max_length = {config['max_length']}"
        )
    return Rows(**fits, too_long=sum(len(read[split]) - len(fits[split]) for split in SPLITS))


def conversations(row: dict[str, Any]) -> list[Conversation]:
    """What a row is trained on: one conversation for SFT, the chosen and the rejected one for DPO."""
    if "messages" in row:
        return [row["messages"]]
    return [row["prompt"] + row[side] for side in ("chosen", "rejected")]


def _tokens(tokenizer: Any, row: dict[str, Any]) -> int:
    """Tokens of the longest conversation of a row."""
    return max(
        len(tokenizer.apply_chat_template(said, return_dict=False)) for said in conversations(row)
    )


def _require_reasoning_kept(tokenizer: Any, row: dict[str, Any], model: str) -> None:
    """Some chat templates drop the text between <think> and </think>, and with it what this data is for."""
    for said in conversations(row):
        rendered = tokenizer.apply_chat_template(said, tokenize=False)
        parts = said[-1]["content"].removeprefix("<think>").split("</think>")
        if any(part.strip() not in rendered for part in parts):
            raise CannotTrain(
                f"the chat template of {model} drops the reasoning between <think> and </think>"
            )
