"""Trainer formats: the columns of each, and a pure function from a row to a plain dict."""

from collections.abc import Mapping
from typing import Any

from aidsafe_dagster.recipe.counterfactual_formats import COUNTERFACTUAL_FORMATS
from aidsafe_dagster.recipe.deliberation_log import DeliberationStory, deliberation_log
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.feedback_formats import FEEDBACK_FORMATS
from aidsafe_dagster.recipe.fine_tune_splits import question_of
from aidsafe_dagster.recipe.format_types import (
    CLOSE,
    LINEAGE,
    OPEN,
    Column,
    Format,
    Reasoning,
    as_turns,
    lineage,
)
from aidsafe_dagster.recipe.records import FineTuneRow, Message
from aidsafe_dagster.recipe.seed_cots import join_thoughts


def trl_sft(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational language modelling.

    There is no string column `prompt` beside `messages`: TRL would stop with a KeyError.
    """
    return {
        "messages": as_turns(row.messages, reasoning),
        "thinking": row.thinking,
        "response": row.response,
        **lineage(row),
    }


def prompt_completion(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Prompt and completion as message lists. The loss is on the completion alone."""
    (*prompt, assistant) = as_turns(row.messages, reasoning)
    return {
        "prompt": prompt,
        "completion": [assistant],
        **lineage(row),
    }


def trl_dpo(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational preference with an explicit prompt."""
    return {
        "prompt": as_turns(row.prompt, reasoning),
        "chosen": as_turns(row.chosen, reasoning),
        "rejected": as_turns(row.rejected, reasoning),
        **lineage(row),
    }


def messages_only(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """The turns as a list of messages, without further columns."""
    return {"messages": as_turns(row.messages, "inline"), **lineage(row)}


def llama_factory_dpo(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """`sharegpt` formatting with `ranking`: chosen and rejected are single messages, not lists."""
    # Unpacking fails loudly if a side ever has more than its one turn.
    (chosen,) = as_turns(row.chosen, "inline")
    (rejected,) = as_turns(row.rejected, "inline")
    return {
        "messages": as_turns(row.prompt, "inline"),
        "chosen": chosen,
        "rejected": rejected,
        **lineage(row),
    }


def ms_swift_dpo(row: FineTuneRow, _: Reasoning) -> dict[str, Any]:
    """The chosen turn is the last message, and the rejected one is a text."""
    (rejected,) = as_turns(row.rejected, "inline")
    return {
        "messages": as_turns(row.prompt, "inline") + as_turns(row.chosen, "inline"),
        "rejected_response": rejected["content"],
        **lineage(row),
    }


def deliberations(story: DeliberationStory, _: Reasoning) -> dict[str, Any]:
    """The columns of the paper's release, as text."""
    return {
        "prompt": story.refined.whole,
        "refined_thoughts": join_thoughts(story.refined.thoughts),
        "response": story.refined.response,
        "deliberation_log": deliberation_log(story),
        **lineage(story.refined),
    }


_SFT: dict[str, Column] = {
    "messages": Column(
        "messages", "the prompt's turns, and the assistant turn with its reasoning"
    ),
    "thinking": Column("string", "the chain of thought alone"),
    "response": Column("string", "the response alone"),
}
_PROMPT_COMPLETION: dict[str, Column] = {
    "prompt": Column("messages", "the user turn, after those before it"),
    "completion": Column("messages", "the assistant turn with its reasoning"),
}
_DPO: dict[str, Column] = {
    "prompt": Column("messages", "the user turn, after those before it"),
    "chosen": Column("messages", "the preferred assistant turn with its reasoning"),
    "rejected": Column("messages", "the assistant turn to avoid, with its reasoning"),
}
_DELIBERATIONS: dict[str, Column] = {
    "prompt": Column(
        "string", "the user's text, unchanged; of a conversation, all its turns"
    ),
    "refined_thoughts": Column(
        "string", "the final chain of thought, a paragraph a thought"
    ),
    "response": Column("string", "the final response"),
    "deliberation_log": Column(
        "string", "who said what, round by round, and what the refiner made of it"
    ),
}
_MESSAGES: dict[str, Column] = {
    "messages": Column(
        "messages", "the prompt's turns, and the assistant turn with <think>"
    )
}
_SINGLE: dict[str, Column] = {
    "messages": Column("messages", "the user turn, after those before it"),
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
        columns=_SFT | LINEAGE,
        convert=trl_sft,
        has_field=True,
    ),
    Format(
        name="trl-dpo",
        trainer="TRL, DPOTrainer",
        rows="dpo",
        columns=_DPO | LINEAGE,
        convert=trl_dpo,
        has_field=True,
    ),
    Format(
        name="prompt-completion",
        trainer="TRL, SFTTrainer with the loss on the completion",
        rows="sft",
        columns=_PROMPT_COMPLETION | LINEAGE,
        convert=prompt_completion,
        has_field=True,
    ),
    Format(
        name="deliberations",
        trainer="the paper's release",
        rows="deliberations",
        columns=_DELIBERATIONS | LINEAGE,
        convert=deliberations,
    ),
    Format(
        name="llama-factory-sft",
        trainer="LLaMA-Factory, stage sft",
        rows="sft",
        columns=_MESSAGES | LINEAGE,
        convert=messages_only,
        file="jsonl",
    ),
    Format(
        name="llama-factory-dpo",
        trainer="LLaMA-Factory, stage dpo",
        rows="dpo",
        columns=_SINGLE | LINEAGE,
        convert=llama_factory_dpo,
        file="jsonl",
    ),
    Format(
        name="ms-swift-sft",
        trainer="ms-swift, sft",
        rows="sft",
        columns=_MESSAGES | LINEAGE,
        convert=messages_only,
        file="jsonl",
    ),
    Format(
        name="ms-swift-dpo",
        trainer="ms-swift, rlhf_type dpo",
        rows="dpo",
        columns=_SWIFT | LINEAGE,
        convert=ms_swift_dpo,
        file="jsonl",
    ),
    *FEEDBACK_FORMATS,
    *COUNTERFACTUAL_FORMATS,
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


def is_ambiguous(row: FineTuneRow) -> bool:
    """Return True if the text of an assistant turn holds a think tag itself.

    Nobody could tell where the reasoning of such a turn ends. A turn before the prompt has none.
    """
    answers = [*(row.messages or ())[-1:], *(row.chosen or ()), *(row.rejected or ())]
    if any(_count_tags(turn) != (1, 1) for turn in answers):
        return True
    earlier = [turn for turn in question_of(row) if turn.role == "assistant"]
    return any(_count_tags(turn) != (0, 0) for turn in earlier)


def _count_tags(turn: Message) -> tuple[int, int]:
    return turn.content.count(OPEN), turn.content.count(CLOSE)
