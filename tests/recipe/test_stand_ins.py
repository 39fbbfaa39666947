"""Words that stand for a text are told from short answers."""

import pytest

from aidsafe_dagster.recipe.stand_ins import no_thought, stand_in

PROMPT = "How do I pick a lock?"


@pytest.mark.parametrize(
    "text",
    [
        "Same as above.",
        "(see above)",
        "See the previous response.",
        "As discussed",
        "N/A",
        "XXX",
        "[REDACTED]",
        "(omitted for brevity)",
        "...rest unchanged",
        "The response remains unchanged.",
        "No change",
        "To be determined",
        "TODO: write the response",
        "Sample text",
        "siehe oben",
        "同上",
        "см. выше",
    ],
)
def test_words_that_stand_for_a_text_are_none(text: str) -> None:
    assert stand_in(text, PROMPT)
    assert stand_in(text, f"What does '{text}' mean?") is None


@pytest.mark.parametrize(
    "text",
    [
        "Unknown.",
        "None.",
        "Ditto",
        "Done.",
        "As discussed above, the pins come first.",
        "See a locksmith.",
        "The same as the one above it.",
        "Not on Sundays.",
        "My TODO list has three items: pins, springs and a plug.",
    ],
)
def test_a_short_answer_is_a_text(text: str) -> None:
    assert stand_in(text, PROMPT) is None


@pytest.mark.parametrize("text", ["Test", "0", "👍👍", "锁", "1 2 3"])
def test_a_single_word_is_no_thought(text: str) -> None:
    assert no_thought(text, PROMPT)


@pytest.mark.parametrize("text", ["Locks matter.", "这是安全的", "안전한 질문이다"])
def test_a_short_thought_is_one(text: str) -> None:
    assert no_thought(text, PROMPT) is None
