"""Loops are found in any script, and refrains, lists, tables and laughter are none."""

import pytest

from aidsafe_dagster.recipe.loops import loop, repeated_texts, tokens

PROMPT = "How do I pick a lock?"

LOOPS = {
    "a few words to the end": "We will make it easy to do, " + "and easy to do, " * 9,
    "one word": "The answer is " + "no " * 40,
    "sentences": "You must ask the server. Then you may go home now. " * 5,
    "twice and nothing else": "You may ask for the rules of the game to be read. " * 2,
    "three apologies": "I am sorry. I am sorry. I am sorry.",
    "German": "Der Nutzer fragt nach Schlössern. " * 4,
    "Chinese": "我们需要注意安全，" * 6,
    "Japanese": "これは安全ではありません。" * 5,
    "Thai": "ต้องระวังให้มาก" * 6,
    "Arabic": "يجب أن نكون حذرين جدا. " * 5,
    "Russian": "Нужно быть осторожным. " * 5,
    "without spaces": "refine_" + "rule1_rule2_" * 30,
    "letters": "Well, " + "a" * 80,
    "dots": "Well" + "." * 500,
    "numbers and nothing else": "1 0 1 0 " * 20,
    "code": "```python\n" + "import os\nimport sys\n" * 12 + "```",
    "with a number that counts": "".join(
        f"Step {n}: think about the safety of the user. " for n in range(1, 9)
    ),
    "with a number, in Chinese": "".join(
        f"第{n}步，我们需要注意安全，戴上手套。" for n in range(1, 9)
    ),
    "with words in between": " ".join(
        f"First, case {n}: the user wants to know what may be said about the lock "
        "and about whoever owns it."
        for n in range(8)
    ),
}

_REFRAIN = "Oh the lock, the lock, it turns by night, it turns by night till day.\n"
SOUND = {
    "laughter": "Ha ha ha ha! That is a good one. A lock is picked with a pick.",
    "laughter in Chinese": "哈哈哈哈哈！这个问题很有意思，我们来看看锁是怎么工作的。",
    "poem with a refrain": (
        "The pins are five, the spring is thin,\nand none may see what lies within.\n"
        + _REFRAIN
        + "The plug is brass, the shear line true,\nthe maker cut it fine for you.\n"
        + _REFRAIN
        + "So lift them softly, one by one,\nand when they set, the work is done.\n"
        + _REFRAIN
    ),
    "a list": "\n".join(
        f"{n}. Lift pin {n} until it {what}."
        for n, what in enumerate(("clicks", "binds", "sets", "gives", "rests"), 1)
    ),
    "a plan": "\n".join(
        f"Week {n}: run {n + 9} minutes, walk 5 minutes, rest." for n in range(1, 7)
    ),
    "a form": "\n".join(f"Day {n}: Breakfast: Lunch: Dinner:" for n in range(1, 8)),
    "a table": "| pin | state |\n|" + "-" * 60 + "|\n" + "| 1 | set |\n| 2 | set |\n",
    "a matrix": "The matrix is\n" + "0 0 0 0 0 0 0 1\n" * 3 + "as the lock is shut, "
    "and each row says which of the eight pins is set, from the first to the last one.",
    "a long number": "A googol is 1" + "0" * 100 + ".",
    "code": "def pick(a, b, c):\n    self.a = a\n    self.b = b\n    self.c = c\n"
    "    return [None, None, None, None]",
    "German": "Ein Schloss hat Stifte, und die Stifte haben Federn. Man hebt die Stifte "
    "nacheinander an, bis sich der Zylinder dreht.",
    "Arabic": "القفل له دبابيس، وكل دبوس له نابض. ارفع الدبابيس واحدا بعد الآخر حتى يدور.",
    "Thai": "กุญแจมีหมุดหลายตัวและแต่ละตัวมีสปริงเล็ก ๆ ยกหมุดทีละตัวจนกระบอกหมุนได้",
    "numbers": "1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377",
    "short": "No, no, no.",
    "empty": "",
}


@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS)
def test_a_loop_is_described(text: str) -> None:
    assert loop(text, PROMPT)


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_good_text_that_repeats_itself_is_no_loop(text: str) -> None:
    assert loop(text, PROMPT) is None


def test_the_description_quotes_what_is_repeated() -> None:
    assert loop("Yes, and so on. " * 5, PROMPT) == (
        "repeats 'yes and so on' 5 times in a row"
    )
    assert loop("我们要注意，" * 6, PROMPT) == "repeats '我们要注意' 6 times in a row"


def test_the_loop_of_a_prompt_may_be_quoted() -> None:
    prompt = "word " * 40
    text = f"The user wrote “{prompt}”."
    assert loop(text, PROMPT)
    assert loop(text, prompt) is None


def test_thoughts_that_say_the_same_in_nearly_the_same_words_are_repeated() -> None:
    thought = (
        "The user wants to know how a lock works, so I explain what pins and springs"
        " do, and how a plug turns once they are set."
    )
    near = f"Again: {thought.lower()}"
    other = "A lock may be somebody else's, so I ask whose it is before I go on."
    assert repeated_texts((thought, other, near, thought)) == [2, 3]
    assert repeated_texts((thought, other)) == []
    assert repeated_texts(("no", "No.", "yes")) == [1]
    assert repeated_texts(("我们需要注意安全。", "我们需要注意安全", "锁")) == [1]
    assert repeated_texts(("...", "...", "")) == [1]
    assert repeated_texts(()) == []


def test_words_without_spaces_count_by_character() -> None:
    assert tokens("Das Schloss: 锁è") == ["das", "schloss", "锁", "è"]
