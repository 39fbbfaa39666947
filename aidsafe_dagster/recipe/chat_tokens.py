"""Tokens by which chat templates mark turns: a text that holds them could fake one.

A server's tokenizer takes `<|im_start|>` in a user's text for the token that begins a turn. So
every message is written with such tokens broken by a backslash. They stay readable, because agents
may have to reason about them, and the prompt itself stays in the data as it is.
"""

import re

_NAMES = (
    "s",
    "bos",
    "eos",
    "unk",
    "pad",
    "mask",
    "sop",
    "eop",
    "start_of_turn",
    "end_of_turn",
    "start_of_image",
    "turn",
    "user",
    "assistant",
    "system",
    "extra_id_[0-9]+",
    "reserved_[0-9]+",
)
"""Of those between angle brackets alone: Llama 2, Gemma, GLM, Nemotron."""
_BRACKETED = (
    "INST",
    "SYSTEM_PROMPT",
    "AVAILABLE_TOOLS",
    "TOOL_CALLS",
    "TOOL_RESULTS",
    "TOOL_CONTENT",
    "ARGS",
    "CALL_ID",
    "THINK",
    "PREFIX",
    "MIDDLE",
    "SUFFIX",
    "IMG",
    "gMASK",
    "MASK",
    "CLS",
    "SEP",
)
"""Of those between square brackets: Mistral, GLM."""
_TOKEN = re.compile(
    r"<(?=\|[^<>|\s]{1,60}\|>)"  # <|im_start|>: ChatML, Llama 3, Phi, Command R, gpt-oss
    r"|<(?=｜[^<>｜]{1,60}｜>)"
    rf"|<(?=/?(?:{'|'.join(_NAMES)})>)"
    r"|<<(?=/?SYS>>)"  # Llama 2
    rf"|\[(?=/?(?:{'|'.join(_BRACKETED)})\])",
    re.IGNORECASE,
)


def without_chat_tokens(text: str) -> str:
    r"""Return the text with every chat-control token broken: `<|im_start|>` → `<\|im_start|>`."""
    # Mostly there is none, and this is asked of every text of every request.
    if "<" not in text and "[" not in text:
        return text
    return _TOKEN.sub(r"\g<0>\\", text)


def first_chat_token(text: str) -> str:
    """Return the first chat-control token of a text; empty if there is none."""
    match = _TOKEN.search(text)
    if match is None:
        return ""
    closing = "]" if text[match.start()] == "[" else ">"
    end = text.index(closing, match.start()) + 1
    if text.startswith(">>", end - 1):
        end += 1
    return text[match.start() : end]
