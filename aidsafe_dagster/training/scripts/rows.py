"""Read the rows of a training set, and check them against the model's chat template."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq
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
    """Rows of all splits that were left out because of their length."""

    def map(self, change: Callable[[Dataset], Dataset]) -> "Rows":
        """Apply a function to every split."""
        return replace(
            self,
            train=change(self.train),
            validation=change(self.validation),
            test=change(self.test),
        )

    def counts(self) -> dict[str, int]:
        return {
            "rows_train": len(self.train),
            "rows_validation": len(self.validation),
            "rows_test": len(self.test),
            "rows_too_long": self.too_long,
        }


def read_rows(config: dict[str, Any], tokenizer: Any) -> Rows:
    """Read the splits without the rows longer than `max_length`.

    Rows are never cut, because a cut answer would teach the model not to stop.

    Raises:
        CannotTrain: the chat template drops the reasoning, or every row of the train split is too
            long.
    """
    max_length: int = config["max_length"]

    def fits(row: dict[str, Any]) -> bool:
        return bool(_count_tokens(tokenizer, row) <= max_length)

    splits, too_long = {}, 0
    for split in SPLITS:
        rows = _read_split(config["data"][split], split)
        # One row is enough, since a template treats all rows alike. The check comes before the
        # tokens are counted, which takes longer.
        if split == "train":
            _check_reasoning_survives(tokenizer, rows[0], config["model"])
        splits[split] = rows.filter(fits)
        too_long += len(rows) - len(splits[split])
    if not len(splits["train"]):
        raise CannotTrain(
            f"every row of the train split is longer than training.max_length = {max_length}"
        )
    return Rows(**splits, too_long=too_long)


def _read_split(file: str, split: str) -> Dataset:
    # `from_parquet` takes a file without rows for an error, and any split but train may be empty.
    if not pq.read_metadata(file).num_rows:
        return Dataset(pq.read_table(file))
    return Dataset.from_parquet(file, split=split)


def conversations(row: dict[str, Any]) -> list[Conversation]:
    """Return the conversation of an SFT row, or the chosen and the rejected one of a DPO row."""
    if "messages" in row:
        return [row["messages"]]
    prompt = row["prompt"]
    return [prompt + row["chosen"], prompt + row["rejected"]]


def _count_tokens(tokenizer: Any, row: dict[str, Any]) -> int:
    """Count the tokens of the longest conversation of a row."""
    lengths = []
    for conversation in conversations(row):
        tokens = tokenizer.apply_chat_template(conversation, return_dict=False)
        lengths.append(len(tokens))
    return max(lengths)


def _check_reasoning_survives(tokenizer: Any, row: dict[str, Any], model: str) -> None:
    """Reject chat templates that drop the text between <think> and </think>.

    That text is what this data is for.
    """
    for conversation in conversations(row):
        rendered = tokenizer.apply_chat_template(conversation, tokenize=False)
        answer = conversation[-1]["content"]
        parts = answer.removeprefix("<think>").split("</think>")
        # White space around a part is the template's own business.
        if any(part.strip() not in rendered for part in parts):
            raise CannotTrain(
                f"the chat template of {model} drops the reasoning between <think> and </think>"
            )
