"""Trainer formats: the columns of each, and a pure function from a row to a plain dict.

The reasoning of an assistant turn is inline, as `<think>…</think>` before the response, or in a
field of its own (`reasoning_content`, the name that chat templates read). Inline reasoning survives
nearly all chat templates. More than half of those that TRL bundles lose the field. Run
`aidsafe check-template` to check a template.
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
    """Converts a `FineTuneRow` or a `DeliberationStory` to a row with these columns."""
    file: Literal["parquet", "jsonl"] = "parquet"
    """The file type that the trainer usually reads."""
    has_field: bool = False
    """Whether reasoning can be in a field. Otherwise it is always inline."""


def trl_sft(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational language modelling.

    There is no string column `prompt` beside `messages`: TRL would stop with a KeyError.
    """
    return {
        "messages": _turns(row.messages, reasoning),
        "thinking": row.thinking,
        "response": row.response,
        "prompt_id": row.prompt_id,
    }


def prompt_completion(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Prompt and completion as message lists. The loss is on the completion alone."""
    user, assistant = _turns(row.messages, reasoning)
    return {
        "prompt": [user],
        "completion": [assistant],
        "prompt_id": row.prompt_id,
    }


def trl_dpo(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational preference with an explicit prompt."""
    return {
        "prompt": _turns(row.prompt, reasoning),
        "chosen": _turns(row.chosen, reasoning),
        "rejected": _turns(row.rejected, reasoning),
        "prompt_id": row.prompt_id,
    }


def messages_only(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """The turns as a list of messages, without further columns."""
    return {"messages": _turns(row.messages, "inline"), "prompt_id": row.prompt_id}


def llama_factory_dpo(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """`sharegpt` formatting with `ranking`: chosen and rejected are single messages, not lists."""
    # Unpacking fails loudly if a side ever has more than its one turn.
    (chosen,) = _turns(row.chosen, "inline")
    (rejected,) = _turns(row.rejected, "inline")
    return {
        "messages": _turns(row.prompt, "inline"),
        "chosen": chosen,
        "rejected": rejected,
        "prompt_id": row.prompt_id,
    }


def ms_swift_dpo(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """The chosen turn is the last message, and the rejected one is a text."""
    (rejected,) = _turns(row.rejected, "inline")
    return {
        "messages": _turns(row.prompt, "inline") + _turns(row.chosen, "inline"),
        "rejected_response": rejected["content"],
        "prompt_id": row.prompt_id,
    }


def deliberations(story: DeliberationStory, _: Reasoning) -> dict[str, Any]:
    """The columns of the paper's release, as text."""
    return {
        "prompt": story.refined.prompt,
        "refined_thoughts": join_thoughts(story.refined.thoughts),
        "response": story.refined.response,
        "deliberation_log": deliberation_log(story),
        "prompt_id": story.refined.prompt_id,
    }


_ID: dict[str, Column] = {
    "prompt_id": Column("string", "hash of the normalised prompt; no trainer reads it")
}
_SFT: dict[str, Column] = {
    "messages": Column(
        "messages", "the user turn, and the assistant turn with its reasoning"
    ),
    "thinking": Column("string", "the chain of thought alone"),
    "response": Column("string", "the response alone"),
}
_PROMPT_COMPLETION: dict[str, Column] = {
    "prompt": Column("messages", "the user turn"),
    "completion": Column("messages", "the assistant turn with its reasoning"),
}
_DPO: dict[str, Column] = {
    "prompt": Column("messages", "the user turn"),
    "chosen": Column("messages", "the preferred assistant turn with its reasoning"),
    "rejected": Column("messages", "the assistant turn to avoid, with its reasoning"),
}
_DELIBERATIONS: dict[str, Column] = {
    "prompt": Column("string", "the user's text, unchanged"),
    "refined_thoughts": Column(
        "string", "the final chain of thought, a paragraph a thought"
    ),
    "response": Column("string", "the final response"),
    "deliberation_log": Column(
        "string", "who said what, round by round, and what the refiner made of it"
    ),
}
_MESSAGES: dict[str, Column] = {
    "messages": Column("messages", "the user turn, and the assistant turn with <think>")
}
_SINGLE: dict[str, Column] = {
    "messages": Column("messages", "the user turn"),
    "chosen": Column("message", "the preferred assistant turn"),
    "rejected": Column("message", "the assistant turn to avoid"),
}
_SWIFT: dict[str, Column] = _MESSAGES | {
    "rejected_response": Column("string", "the assistant turn to avoid")
}

_ALL = (
    Format(
        name="trl-sft",
        trainer="TRL, SFTTrainer",
        rows="sft",
        columns=_SFT | _ID,
        convert=trl_sft,
        has_field=True,
    ),
    Format(
        name="trl-dpo",
        trainer="TRL, DPOTrainer",
        rows="dpo",
        columns=_DPO | _ID,
        convert=trl_dpo,
        has_field=True,
    ),
    Format(
        name="prompt-completion",
        trainer="TRL, SFTTrainer with the loss on the completion",
        rows="sft",
        columns=_PROMPT_COMPLETION | _ID,
        convert=prompt_completion,
        has_field=True,
    ),
    Format(
        name="deliberations",
        trainer="the paper's release",
        rows="deliberations",
        columns=_DELIBERATIONS | _ID,
        convert=deliberations,
    ),
    Format(
        name="llama-factory-sft",
        trainer="LLaMA-Factory, stage sft",
        rows="sft",
        columns=_MESSAGES | _ID,
        convert=messages_only,
        file="jsonl",
    ),
    Format(
        name="llama-factory-dpo",
        trainer="LLaMA-Factory, stage dpo",
        rows="dpo",
        columns=_SINGLE | _ID,
        convert=llama_factory_dpo,
        file="jsonl",
    ),
    Format(
        name="ms-swift-sft",
        trainer="ms-swift, sft",
        rows="sft",
        columns=_MESSAGES | _ID,
        convert=messages_only,
        file="jsonl",
    ),
    Format(
        name="ms-swift-dpo",
        trainer="ms-swift, rlhf_type dpo",
        rows="dpo",
        columns=_SWIFT | _ID,
        convert=ms_swift_dpo,
        file="jsonl",
    ),
)
FORMATS: Mapping[str, Format] = {format_.name: format_ for format_ in _ALL}


def get_format(name: str, reasoning: Reasoning) -> Format:
    """Return the format of a name.

    Raises:
        SetupError: there is no such format, or its trainer reads no reasoning field.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS, "export")
    if reasoning == "field" and not FORMATS[name].has_field:
        valid = ", ".join(format_.name for format_ in _ALL if format_.has_field)
        raise SetupError(
            f"export: format '{name}' takes reasoning inline alone. With a field: {valid}"
        )
    return FORMATS[name]


def llama_factory_info(name: str, file: str, *, ranking: bool) -> dict[str, Any]:
    """Return an entry of LLaMA-Factory's `dataset_info.json`.

    The formatting is `sharegpt` with OpenAI's tags. The formatting `openai` itself would add a
    system prompt to every row.
    """
    columns = {"messages": "messages"}
    if ranking:
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    return {
        name: {
            "file_name": file,
            "formatting": "sharegpt",
            "ranking": ranking,
            "columns": columns,
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
    }


def split_thinking(content: str) -> tuple[str, str]:
    """Split an assistant turn into CoT and response: the inverse of `join_thinking`."""
    # A turn that was not made by `join_thinking` has no reasoning to split off.
    body = content.removeprefix(f"{OPEN}\n")
    thinking, tag, response = body.partition(f"\n{CLOSE}\n\n")
    if not tag:
        return "", content
    return thinking, response


def is_ambiguous(row: FineTuneRow) -> bool:
    """Return True if the text of an assistant turn holds a think tag itself.

    Nobody could tell where the reasoning of such a turn ends.
    """
    for turns in (row.messages, row.chosen, row.rejected):
        for turn in turns or ():
            if turn.role == "assistant" and not _has_one_thinking_block(turn.content):
                return True
    return False


def _has_one_thinking_block(content: str) -> bool:
    return content.count(OPEN) == 1 and content.count(CLOSE) == 1


def _turns(
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
        REASONING_FIELD: thinking,
    }
