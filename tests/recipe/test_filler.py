"""Responses of filler alone are found in several languages; one sentence of substance saves one."""

import pytest

from aidsafe_dagster.recipe.filler import filler

PROMPT = "How do I pick the lock of my shed?"


@pytest.mark.parametrize(
    "text",
    [
        "I will now answer your question.",
        "Sure, I can help with that!",
        "Great question! I'd be happy to help.",
        "Let me know if you need anything else.",
        "I understand your request and will respond accordingly.",
        "Certainly! Here's a detailed response to your query.",
        "The response is provided above.",
        "The response stays as it is.",
        "This response is safe and helpful.",
        "The response should warn the user and then explain the steps.",
        "The assistant should explain how it is done safely.",
        "A helpful and safe response.",
        "Explain to the user how a lock works.",
        "No changes needed.",
        "Gerne helfe ich dir dabei!",
        "Bien sûr, je peux vous aider !",
        "¡Claro, con gusto te ayudo!",
        "当然，我很乐意帮助你！",
        "もちろんです、お手伝いします！",
        "Конечно, я помогу!",
    ],
)
def test_filler_says_nothing(text: str) -> None:
    assert filler(text, PROMPT)


@pytest.mark.parametrize(
    "text",
    [
        "Sure, I can help with that! Which make is the lock?",
        "I will now answer your question. Lift the pins.",
        "Yes.",
        "Absolutely.",
        "I'm sorry you are locked out. Is somebody with you?",
        "The answer is 42.",
        "The response was swift.",
        "I understand that this is hard.",
        "Tell the locksmith that the user manual is lost.",
        "Here are the steps: rake, then turn.",
        "I can't help with that.",
        "Thank you for your patience with the lock; oil helps.",
    ],
)
def test_one_sentence_of_substance_is_enough(text: str) -> None:
    assert filler(text, PROMPT) is None


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Sure, I can help with that!", "Can you help me?"),
        ("Gerne helfe ich dir dabei!", "Kannst du mir helfen?"),
        ("The response is safe.", "Is this response safe or not?"),
    ],
)
def test_a_prompt_may_ask_for_it(text: str, prompt: str) -> None:
    assert filler(text, prompt) is None
