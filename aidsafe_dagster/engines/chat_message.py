"""Answer and reasoning in a chat message, in whichever field and form a server puts them.

Reasoning comes in a field of its own, as a part of the content, or as a block within it, whose
opening tag is often part of the prompt and so not of the answer.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_OPENING = re.compile(
    r"\s*(<(?:\w+:)?think(?:ing)?>|<reasoning>|<thought>|\[THINK\]|◁think▷)",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"</(?:\w+:)?think(?:ing)?>|</reasoning>|</thought>|\[/THINK\]|◁/think▷",
    re.IGNORECASE,
)
_CLOSING_MARKS = ("</", "[/", "◁/")
"""One of them is in every closing tag."""
REASONING_FIELDS = (
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "thinking",
    "thinking_blocks",
)
_THOUGHT_TYPES = re.compile(r"think|reason|thought", re.IGNORECASE)
_TEXT_FIELDS = ("text", "content", "output_text", "value")
_PART_FIELDS = ({"text"}, {"content"}, {"value", "annotations"})
"""Fields of a part that does not name its type."""
_THOUGHT_FIELDS = ("text", "thinking", "reasoning", "content", "summary", "thought")
_MAX_SEARCHED = 400_000
"""Characters of reasoning, from the end, that are searched for an answer."""
_MAX_FAILURES = 1000
"""Braces that begin no object, after which the search ends: it must not take minutes."""
_MAX_DEPTH = 8
_BEGINNING_OF_JSON = re.compile(r'\{\s*(["}]|$)|\[\s*(["{\]]|$)')


@dataclass(frozen=True)
class Spoken:
    """What a model said, taken apart."""

    text: str
    """The answer."""
    reasoning: str
    refusal: str = ""
    is_open: bool = False
    """A block of reasoning begins and does not end."""

    @property
    def is_prose(self) -> bool:
        """No JSON begins anywhere in the answer."""
        return _BEGINNING_OF_JSON.search(self.text) is None


def spoken(choice: Mapping[str, Any], keep_blocks: bool = False) -> Spoken:
    """Return answer, reasoning and refusal of a choice.

    Args:
        choice: of a reply.
        keep_blocks: blocks of reasoning stay in the text, where their form is under test.
    """
    message = choice.get("message")
    if message is None:
        # A completion without chat, or the last part of a stream.
        message = choice.get("delta") or choice.get("text")
    if not isinstance(message, dict):
        message = {"content": message}
    thoughts: list[str] = []
    refusals: list[str] = []
    text = "".join(_texts(message.get("content"), thoughts, refusals))
    for field in REASONING_FIELDS:
        # The others repeat the first.
        if not thoughts:
            thoughts += thoughts_in(message.get(field))
    refusal = message.get("refusal")
    if isinstance(refusal, str):
        refusals.append(refusal)
    is_open = False
    if not keep_blocks:
        block, text, is_open = _split(text)
        thoughts.append(block)
    if not text.strip():
        text = _arguments(message)
    reasoning = "\n".join(filter(None, (thought.strip() for thought in thoughts)))
    return Spoken(text, reasoning, "".join(refusals).strip(), is_open)


def last_object(text: str, required: tuple[str, ...] = ()) -> str:
    """Return the last JSON object in a text that has all the required fields; empty if none has."""
    text = text[-_MAX_SEARCHED:]
    last = ""
    for start, end, value in _objects(text):
        if all(name in value for name in required):
            last = text[start:end]
    return last


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield beginning, end and value of each outermost JSON object in a text."""
    decoder = json.JSONDecoder()
    failures = 0
    start = text.find("{")
    while start >= 0 and failures < _MAX_FAILURES:
        end = start + 1
        try:
            value, end = decoder.raw_decode(text, start)
            yield start, end, value
        except (ValueError, RecursionError):
            failures += 1
        start = text.find("{", end)


def _texts(
    content: Any, thoughts: list[str], refusals: list[str], depth: int = 0
) -> Iterator[str]:
    """Yield the texts of a content of any form; what else it holds goes into the two lists."""
    if content is None or depth > _MAX_DEPTH:
        return
    if isinstance(content, str):
        yield content
    elif isinstance(content, list) and all(map(_is_part, content)):
        for part in content:
            yield from _texts(part, thoughts, refusals, depth + 1)
    elif isinstance(content, dict) and _is_part(content):
        kind = str(content.get("type") or "")
        if _THOUGHT_TYPES.search(kind):
            thoughts += thoughts_in(content)
        elif kind == "refusal":
            refusals.append(str(content.get("refusal") or ""))
        else:
            # Images, tool calls and the like have no text.
            for field in _TEXT_FIELDS:
                if content.get(field):
                    yield from _texts(content[field], thoughts, refusals, depth + 1)
                    break
    else:
        # The server has parsed the answer already.
        yield json.dumps(content)


def _is_part(value: Any) -> bool:
    """Return whether a value is a part of a content, and not an answer that is JSON."""
    if isinstance(value, str):
        return True
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("type"), str):
        return True
    return any(set(value) <= fields for fields in _PART_FIELDS)


def thoughts_in(value: Any, depth: int = 0) -> list[str]:
    """Return the texts of a reasoning field, which is a text, or blocks of any depth."""
    if isinstance(value, str):
        return [value]
    if depth > _MAX_DEPTH:
        return []
    blocks: list[str] = []
    if isinstance(value, list):
        for item in value:
            blocks += thoughts_in(item, depth + 1)
    elif isinstance(value, dict):
        for field in _THOUGHT_FIELDS:
            if value.get(field):
                return thoughts_in(value[field], depth + 1)
    return blocks


def _split(text: str) -> tuple[str, str, bool]:
    """Return the reasoning, the answer, and whether the reasoning never ends."""
    blocks = []
    opening = _OPENING.match(text)
    # Most answers hold nothing of the kind, and a plain search is far cheaper.
    may_close = any(mark in text for mark in _CLOSING_MARKS)
    closing = _CLOSING.search(text) if may_close else None
    # The prompt may have opened the block, so the first one needs no opening tag.
    while closing and (opening or not _is_quoted(text, closing)):
        start = opening.end() if opening else 0
        blocks.append(text[start : closing.start()])
        text = text[closing.end() :].lstrip()
        opening = _OPENING.match(text)
        closing = _CLOSING.search(text) if opening else None
    return ("\n".join(blocks), text, opening is not None)


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    """Return whether a tag is within a JSON object: an answer may well quote one."""
    if _BEGINNING_OF_JSON.match(text.lstrip()):
        # An answer that was cut is no whole object. Another answer may follow a draft.
        return _BEGINNING_OF_JSON.match(text[tag.end() :].lstrip()) is None
    return any(start < tag.start() < end for start, end, _ in _objects(text))


def _arguments(message: Mapping[str, Any]) -> str:
    """Return the answer of a server that turns a schema into a call of a tool."""
    calls = message.get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else message
    function = first.get("function") if isinstance(first, dict) else None
    function = function or message.get("function_call")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if isinstance(arguments, dict):
        return json.dumps(arguments)
    return arguments if isinstance(arguments, str) else ""
