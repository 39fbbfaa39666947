"""What a trainer format is: the columns of its rows, and a pure function that makes a row of them.

The reasoning of an assistant turn is inline, as `<think>…</think>` before the response, or in a
field of its own (`reasoning_content`, the name that chat templates read). Inline reasoning survives
nearly all chat templates. More than half of those that TRL bundles lose the field. Run
`aidsafe check-template` to check a template.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aidsafe_dagster.recipe.records import (
    FineTuneRow,
    Message,
    PolicyCounterfactual,
    RefinedCot,
)

Reasoning = Literal["inline", "field"]
RowKind = Literal[
    "sft",
    "selected",
    "dpo",
    "deliberations",
    "prm",
    "kto",
    "reward",
    "guard",
    "grpo",
    "counterfactual_sft",
    "counterfactual_dpo",
]
ColumnType = Literal[
    "string",
    "int",
    "float",
    "strings",
    "bool",
    "bools",
    "message",
    "messages",
    "intents",
    "thoughts",
    "judged_thoughts",
    "turns",
]
_Lineage = FineTuneRow | RefinedCot | PolicyCounterfactual
OPEN, CLOSE = "<think>", "</think>"
REASONING_FIELD = "reasoning_content"


class Column(NamedTuple):
    type: ColumnType
    """A `message` is {role, content}, plus `reasoning_content` if reasoning is in a field."""
    about: str


Columns = Mapping[str, Column]
Convert = Callable[[Any, Reasoning], dict[str, Any]]


@dataclass(frozen=True)
class Format:
    name: str
    trainer: str
    rows: RowKind
    """The kind of rows it converts."""
    columns: Columns
    convert: Convert
    """Converts what the kind of rows is made of (`publishing.feedback`) to these columns."""
    file: Literal["parquet", "jsonl"] = "parquet"
    """The file type that the trainer usually reads."""
    has_field: bool = False
    """Whether reasoning can be in a field. Otherwise it is always inline."""


LINEAGE: dict[str, Column] = {
    "prompt_id": Column("string", "hash of the normalised prompt; no trainer reads it"),
    "own_id": Column(
        "string",
        "id that the source itself gives the prompt, or empty; nor does it read this",
    ),
    "batch": Column("string", "batch in which the row was made"),
    "recipe": Column("string", "fingerprint of the recipe that it was made under"),
    "generation": Column("int", "turn of the loop in which it was made, from 1 on"),
    "adapters": Column(
        "string", "trained adapters that answered at its last stage, and as whom"
    ),
    "derivation": Column(
        "string",
        "how the prompt was made: grown, benign_twin or wrapper, and as what; empty if found",
    ),
    "derived_from": Column(
        "string", "prompt_id of the prompt that it was made from, or empty"
    ),
}


def lineage(row: _Lineage) -> dict[str, Any]:
    """Return where a row comes from, as every format has it."""
    derivation = row.derivation
    # As text, since some trainers take no lists or objects beside their own columns.
    texts = {
        "adapters": "; ".join(row.adapters),
        "derivation": str(derivation or ""),
        "derived_from": derivation.parent if derivation else "",
    }
    plain = {column: getattr(row, column) for column in LINEAGE if column not in texts}
    return {**plain, **texts}


def split_thinking(content: str) -> tuple[str, str]:
    """Split an assistant turn into CoT and response: the inverse of `join_thinking`."""
    # A turn that was not made by `join_thinking` has no reasoning to split off.
    body = content.removeprefix(f"{OPEN}\n")
    thinking, tag, response = body.partition(f"\n{CLOSE}\n\n")
    if not tag:
        return "", content
    return thinking, response


def as_turns(
    messages: Sequence[Message] | None, reasoning: Reasoning
) -> list[dict[str, Any]]:
    turns = [message.model_dump() for message in messages or ()]
    if reasoning == "inline":
        return turns
    return [_with_reasoning_field(turn) for turn in turns]


def _with_reasoning_field(turn: dict[str, Any]) -> dict[str, Any]:
    # User turns get the field too, so that all turns of a column have the same keys.
    if turn["role"] != "assistant":
        return turn | {REASONING_FIELD: None}
    thinking, response = split_thinking(turn["content"])
    return {
        "role": turn["role"],
        "content": response,
        # A turn before the prompt has none.
        REASONING_FIELD: thinking or None,
    }
