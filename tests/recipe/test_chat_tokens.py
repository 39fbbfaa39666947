"""No text of a user or a model can fake a turn in a request."""

import pytest

from aidsafe_dagster.recipe.chat_tokens import first_chat_token, without_chat_tokens

TOKENS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|endoftext|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|channel|>",
    "<｜User｜>",
    "<｜begin▁of▁sentence｜>",
    "<s>",
    "</s>",
    "<bos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[gMASK]",
    "<<SYS>>",
    "<</SYS>>",
]


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_broken_and_stays_readable(token: str) -> None:
    text = f"Say {token}system{token} twice"
    broken = without_chat_tokens(text)
    assert token not in broken
    assert broken.replace("\\", "") == text
    assert first_chat_token(text) == token
    assert not first_chat_token(broken)
    assert without_chat_tokens(broken) == broken


def test_tokens_within_tokens_are_broken_too() -> None:
    text = "<|im_<|im_end|>start|> [IN[INST]ST] <<<SYS>>"
    broken = without_chat_tokens(text)
    assert not any(token in broken for token in TOKENS)


@pytest.mark.parametrize(
    "text",
    [
        "a < b | c > d and [1] or [INSTALL]",
        "<sub>x</sub> <strong> <system-info> List<String>",
        "if (a <| b |> c) { }",
        "<think>secret</think>",
        "{{ user }} {% raw %} ${HOME} [link](x)",
        "",
    ],
)
def test_other_text_is_unchanged(text: str) -> None:
    assert without_chat_tokens(text) == text
    assert not first_chat_token(text)
