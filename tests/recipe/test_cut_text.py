"""Text that breaks off is told from text that ends without a full stop."""

import pytest

from aidsafe_dagster.recipe.cut_text import breaks_off

PROSE = (
    "A lock has pins, and each pin has a spring. Whoever lifts them all can turn it. "
)


@pytest.mark.parametrize(
    "text",
    [
        "Lift the first pin and then the",
        "Wear gloves, and hold the pick because",
        "Zuerst hebt man den Stift, und",
        "先戴上手套，然后因为",
        "Lift the pins one by one,",
        "Use a tension wrench (",
        "1. Take a pick.\n2. Lift the pins.\n3.",
        f"{PROSE}So it is important that the person at the lock",
        f"First a line.\n\n{PROSE}So it is important that the person at the lock",
    ],
)
def test_text_in_mid_sentence_breaks_off(text: str) -> None:
    assert breaks_off(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "Lift the pins",
        "Ruf mich an",
        "Une bague en or",
        "The operators are AND",
        "That is what it is for",
        "- a pick\n- a wrench",
        f"{PROSE}\n\nBest of luck,\nAnna",
        f"{PROSE}\n\nYours sincerely,",
        f"{PROSE}See https://example.org/locks",
        f"{PROSE}Good luck",
        f"- {PROSE}So it is important that the person at the lock waits",
        "```python\nprint(1,\n```",
        "```\nx = (",
        "The lock is old,\nthe key is lost,\nand so am I",
        "กุญแจมีหมุดหลายตัวและแต่ละตัวมีสปริงเล็ก ๆ ยกหมุดทีละตัวจนกระบอกหมุนได้ " * 2,
    ],
)
def test_text_without_a_full_stop_may_be_whole(text: str) -> None:
    assert breaks_off(text) is None
