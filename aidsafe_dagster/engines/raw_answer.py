"""What a raw chat reply holds: the answer, and the reasoning, wherever the server puts it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Fields of a message beside its content, by server."""
_TAG = r"(think|thinking|thought|reasoning)"
_OPENING = re.compile(rf"<{_TAG}>", re.IGNORECASE)
_CLOSING = re.compile(rf"</{_TAG}>", re.IGNORECASE)


@dataclass(frozen=True)
class RawAnswer:
    text: str
    """The content without a reasoning block; that of a reasoning field if there is no other."""
    reasoning: str
    """Where the reasoning is, for a person; empty if there is none."""
    was_cut: bool
    usage: Mapping[str, Any]


def raw_answer(data: Any) -> RawAnswer | None:
    """Return what a chat reply holds; None if it is no chat reply."""
    try:
        choice = data["choices"][0]
        message = choice["message"]
        content = _joined(message.get("content"))
    except (LookupError, TypeError, AttributeError):
        return None
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    place = _place_of_reasoning(message, content, usage)
    text = _CLOSING.split(content)[-1].strip()
    if not text:
        # Some servers put the answer itself among the reasoning.
        fields = [_joined(message.get(name)) for name in REASONING_FIELDS]
        text = next(filter(None, fields), "")
    return RawAnswer(text, place, choice.get("finish_reason") == "length", usage)


def json_object(text: str) -> dict[str, Any] | None:
    """Return a text as a JSON object; None if it is none."""
    try:
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def embedded_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in a text, with or without words around it; None without one."""
    return json_object(text[text.find("{") : text.rfind("}") + 1])


def _joined(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "".join(texts)


def _place_of_reasoning(
    message: Mapping[str, Any], content: str, usage: Mapping[str, Any]
) -> str:
    for name in REASONING_FIELDS:
        if message.get(name):
            return f"in the field {name}"
    for part in message["content"] if isinstance(message.get("content"), list) else []:
        if isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
            return f"in a part of the content of type {part['type']}"
    opening = _OPENING.search(content)
    closing = _CLOSING.search(content)
    if opening:
        return f"in the answer, as a block {opening[0]}"
    if closing:
        return f"in the answer, ended by {closing[0]} without an opening tag"
    details = usage.get("completion_tokens_details") or {}
    tokens = details.get("reasoning_tokens") if isinstance(details, dict) else 0
    return f"counted ({tokens} tokens) and not shown" if tokens else ""
