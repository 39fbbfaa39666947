"""Formats that trainers take: for each its columns, and a pure function from a row to a plain dict.

The reasoning of an assistant turn is inline, `<think>…</think>` before the response, or in a field of its own
(`reasoning_content`, the name that chat templates read). Inline survives nearly every chat template; a field is lost by
more than half of those that TRL bundles. `aidsafe check-template` tells it for a given one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aidsafe_dagster.recipe.deliberation_log import DeliberationStory, deliberation_log
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import FineTuneRow, Message
from aidsafe_dagster.recipe.seed_cots import join_thoughts

Reasoning = Literal["inline", "field"]
RowKind = Literal["sft", "dpo", "deliberations"]
ColumnType = Literal[
    "string",
    "int",
    "float",
    "strings",
    "message",
    "messages",
    "intents",
    "thoughts",
    "judged_thoughts",
    "turns",
]
OPEN, CLOSE = "<think>", "</think>"
REASONING_FIELD = "reasoning_content"


class Column(NamedTuple):
    type: ColumnType
    """A `message` is {role, content}, and {role, content, reasoning_content} where reasoning is in a field."""
    about: str


Columns = Mapping[str, Column]
_Columns = dict[str, Column]
Make = Callable[[Any, Reasoning], dict[str, Any]]


@dataclass(frozen=True)
class Format:
    name: str
    trainer: str
    rows: RowKind
    """What it is made from."""
    columns: Columns
    make: Make
    """From a `FineTuneRow`, or a `DeliberationStory`, to a row with those columns."""
    file: Literal["parquet", "jsonl"] = "parquet"
    """What the trainer is usually given."""
    has_field: bool = False
    """Reasoning can be in a field; else it is inline, whatever is asked for."""


def trl_sft(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational language modelling. No string `prompt` beside `messages`: TRL would stop with a KeyError."""
    return {
        "messages": _turns(row.messages, reasoning),
        "thinking": row.thinking,
        "response": row.response,
        "prompt_id": row.prompt_id,
    }


def prompt_completion(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Prompt and completion as message lists: the loss is on the completion alone."""
    user, assistant = _turns(row.messages, reasoning)
    return {"prompt": [user], "completion": [assistant], "prompt_id": row.prompt_id}


def trl_dpo(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational preference with an explicit prompt."""
    sides = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    return {side: _turns(turns, reasoning) for side, turns in sides.items()} | {
        "prompt_id": row.prompt_id
    }


def messages_alone(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    return {"messages": _turns(row.messages, "inline"), "prompt_id": row.prompt_id}


def llama_factory_dpo(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """`sharegpt` formatting with `ranking`: chosen and rejected are single messages, not lists."""
    (chosen,), (rejected,) = _turns(row.chosen, "inline"), _turns(row.rejected, "inline")
    prompt = _turns(row.prompt, "inline")
    return {"messages": prompt, "chosen": chosen, "rejected": rejected, "prompt_id": row.prompt_id}


def ms_swift_dpo(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """The chosen turn ends the messages; the rejected one is a text."""
    (rejected,) = _turns(row.rejected, "inline")
    messages = _turns(row.prompt, "inline") + _turns(row.chosen, "inline")
    return {
        "messages": messages,
        "rejected_response": rejected["content"],
        "prompt_id": row.prompt_id,
    }


def deliberations(row: DeliberationStory, _: Reasoning) -> dict[str, Any]:
    """The columns of the paper's release, as text."""
    return {
        "prompt": row.refined.prompt,
        "refined_thoughts": join_thoughts(row.refined.thoughts),
        "response": row.refined.response,
        "deliberation_log": deliberation_log(row),
        "prompt_id": row.refined.prompt_id,
    }


_ID: _Columns = {
    "prompt_id": Column("string", "hash of the normalised prompt; no trainer reads it")
}
_SFT: _Columns = {
    "messages": Column("messages", "the user turn, and the assistant turn with its reasoning"),
    "thinking": Column("string", "the chain of thought alone"),
    "response": Column("string", "the response alone"),
}
_PROMPT_COMPLETION: _Columns = {
    "prompt": Column("messages", "the user turn"),
    "completion": Column("messages", "the assistant turn with its reasoning"),
}
_DPO: _Columns = {
    "prompt": Column("messages", "the user turn"),
    "chosen": Column("messages", "the preferred assistant turn with its reasoning"),
    "rejected": Column("messages", "the assistant turn to avoid, with its reasoning"),
}
_DELIBERATIONS: _Columns = {
    "prompt": Column("string", "the user's text, unchanged"),
    "refined_thoughts": Column("string", "the final chain of thought, a paragraph a thought"),
    "response": Column("string", "the final response"),
    "deliberation_log": Column(
        "string", "who said what, round by round, and what the refiner made of it"
    ),
}
_MESSAGES: _Columns = {
    "messages": Column("messages", "the user turn, and the assistant turn with <think>")
}
_SINGLE: _Columns = {
    "messages": Column("messages", "the user turn"),
    "chosen": Column("message", "the preferred assistant turn"),
    "rejected": Column("message", "the assistant turn to avoid"),
}
_SWIFT: _Columns = _MESSAGES | {
    "rejected_response": Column("string", "the assistant turn to avoid")
}

_ALL = (
    Format("trl-sft", "TRL, SFTTrainer", "sft", _SFT | _ID, trl_sft, has_field=True),
    Format("trl-dpo", "TRL, DPOTrainer", "dpo", _DPO | _ID, trl_dpo, has_field=True),
    Format(
        "prompt-completion",
        "TRL, SFTTrainer with the loss on the completion",
        "sft",
        _PROMPT_COMPLETION | _ID,
        prompt_completion,
        has_field=True,
    ),
    Format(
        "deliberations", "the paper's release", "deliberations", _DELIBERATIONS | _ID, deliberations
    ),
    Format(
        "llama-factory-sft",
        "LLaMA-Factory, stage sft",
        "sft",
        _MESSAGES | _ID,
        messages_alone,
        "jsonl",
    ),
    Format(
        "llama-factory-dpo",
        "LLaMA-Factory, stage dpo",
        "dpo",
        _SINGLE | _ID,
        llama_factory_dpo,
        "jsonl",
    ),
    Format("ms-swift-sft", "ms-swift, sft", "sft", _MESSAGES | _ID, messages_alone, "jsonl"),
    Format("ms-swift-dpo", "ms-swift, rlhf_type dpo", "dpo", _SWIFT | _ID, ms_swift_dpo, "jsonl"),
)
FORMATS: Mapping[str, Format] = {made.name: made for made in _ALL}


def get_format(name: str, reasoning: Reasoning) -> Format:
    """The format of that name.

    Raises:
        SetupError: there is none, or its trainer reads no reasoning field.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS, "export")
    if reasoning == "field" and not FORMATS[name].has_field:
        fitting = ", ".join(made.name for made in _ALL if made.has_field)
        raise SetupError(
            f"export: format '{name}' takes reasoning inline alone. With a field: {fitting}"
        )
    return FORMATS[name]


def llama_factory_info(name: str, file: str, *, ranking: bool) -> dict[str, Any]:
    """An entry of LLaMA-Factory's `dataset_info.json`.

    The formatting is `sharegpt` with these tags and not `openai`, which adds a system prompt to every row.
    """
    sides = {"chosen": "chosen", "rejected": "rejected"} if ranking else {}
    speakers = {f"{role}_tag": role for role in ("user", "assistant", "system")}
    return {
        name: {
            "file_name": file,
            "formatting": "sharegpt",
            "ranking": ranking,
            "columns": {"messages": "messages"} | sides,
            "tags": {"role_tag": "role", "content_tag": "content"} | speakers,
        }
    }


def split_thinking(content: str) -> tuple[str, str]:
    """Chain of thought and response of an assistant turn: the inverse of `join_thinking`."""
    thinking, found, response = content.removeprefix(f"{OPEN}\n").partition(f"\n{CLOSE}\n\n")
    return (thinking, response) if found else ("", content)


def is_ambiguous(row: FineTuneRow) -> bool:
    """True when an assistant turn says a think tag itself, so that where its reasoning ends cannot be told."""
    turns = [turn for side in (row.messages, row.chosen, row.rejected) for turn in side or ()]
    said = [turn.content for turn in turns if turn.role == "assistant"]
    return any(content.count(tag) != 1 for content in said for tag in (OPEN, CLOSE))


def _turns(messages: Sequence[Message] | None, reasoning: Reasoning) -> list[dict[str, Any]]:
    turns = [message.model_dump() for message in messages or ()]
    return turns if reasoning == "inline" else [_with_field(turn) for turn in turns]


def _with_field(turn: dict[str, Any]) -> dict[str, Any]:
    """The turn with its reasoning in a field. Every turn has the field, so that turns stack in one column."""
    if turn["role"] != "assistant":
        return turn | {REASONING_FIELD: None}
    thinking, response = split_thinking(turn["content"])
    return {"role": turn["role"], "content": response, REASONING_FIELD: thinking}
