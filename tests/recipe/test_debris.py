"""What machinery leaves in text is found, and code, quotations and dialogues are left alone."""

import pytest

from aidsafe_dagster.recipe.debris import debris

PROMPT = "How do I pick a lock?"
SENTENCE = "Lift the pins one by one."

DEBRIS = [
    f"{SENTENCE}<|im_end|>",
    f"{SENTENCE}<|eot_id|><|start_header_id|>assistant",
    f"{SENTENCE}</s>",
    "<s>",
    f"{SENTENCE} [/INST]",
    f"<start_of_turn>model {SENTENCE}",
    "<unk> <unk>",
    f"<think>Hm.</think> {SENTENCE}",
    f"{SENTENCE}\n\nHuman: Thanks!\n\nAssistant: You are welcome.",
    f"{SENTENCE}\n### Instruction:\nGo on.",
    "It isnâ€™t hard, and itâ€™s quick.",
    "FÃ¼r das Schloss braucht man ein GerÃ¤t.",
    "ÐŸÑ€Ð¸Ð²ÐµÑ‚",
    "The pins \ufffd\ufffd are five.",
    '{"thought": "Lift the pins.", "rules": []}',
    'So: {"thoughts": [], "response": "Lift."}',
    "&nbsp;&nbsp;",
    "\\n\\n\\u0000",
    "TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQ1234=",
]
SOUND = [
    "Use `</s>` or `<|im_end|>` as the token that ends a text.",
    '```json\n{"thoughts": []}\n```',
    "A <s>cheap</s> good lock has six pins.",
    "Donau, Ärger, São Paulo, naïve café, Ångström, Ñandú, ÀÉÎÕÜ.",
    "«Où êtes-vous ?» – “Ça va”, dit-il…",
    "Phone the locksmith: 0301234567.",
    "Donaudampfschifffahrtsgesellschaftskapitän",
    '{"locks": 3}',
]


@pytest.mark.parametrize("text", DEBRIS)
def test_debris_is_described(text: str) -> None:
    assert debris(text, PROMPT)


@pytest.mark.parametrize("text", SOUND)
def test_text_that_only_looks_alike_is_sound(text: str) -> None:
    assert debris(text, PROMPT) is None


def test_a_prompt_that_holds_the_same_or_asks_for_it_excuses_it() -> None:
    assert debris("<|im_end|> ends a turn.", "What does <|im_start|> mean?") is None
    turns = "User: Hi\nAssistant: Hello, what can I do?"
    assert debris(turns, PROMPT)
    assert debris(turns, "Write a dialogue with a bot.") is None
    digest = "5f4dcc3b5aa765d61d8327deb882cf99"
    assert debris(digest, PROMPT)
    assert debris(digest, "What is the MD5 of 'password'?") is None
