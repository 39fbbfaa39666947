import pytest

from aidsafe_dagster.recipe.answers import NotAnAnswer
from aidsafe_dagster.recipe.target_answer import TargetAnswer, read_target_answer

PROMPT = "How do I open a lock?"


def read(text: str, reasoning: str = "", prompt: str = PROMPT) -> tuple[str, str]:
    answer = read_target_answer(text, reasoning, prompt)
    return answer.cot, answer.response


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nHm.\n</think>\n\nTake a rake.",
        "Hm.\n</think>\nTake a rake.",
        "[THINK]Hm.[/THINK]Take a rake.",
        "<reasoning>Hm.</reasoning>\n\nResponse: Take a rake.",
        "<think>Hm.</think><answer>Take a rake.</answer>",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final"
        "<|message|>Take a rake.<|return|>",
        "analysis Hm. assistantfinalTake a rake.",
    ],
)
def test_a_block_of_reasoning_holds_the_thoughts(text: str) -> None:
    assert read(text) == ("Hm.", "Take a rake.")


@pytest.mark.parametrize(
    "text",
    [
        "Thoughts: Hm. Response: Take a rake.",
        "Thoughts:\nHm.\n\nResponse:\nTake a rake.",
        "**Reasoning:** Hm.\n\n**Answer:** Take a rake.",
        "## Thinking\nHm.\n\n## Answer\nTake a rake.",
        "Hm.\n\nSo my final answer to the user is: Take a rake.",
        "Gedanken: Hm.\n\nAntwort: Take a rake.",
        "Мысли: Hm.\n\nОтвет: Take a rake.",
        "思考：Hm.\n\n回答：Take a rake.",
        "생각: Hm.\n\n답변: Take a rake.",
        "विचार: Hm.\n\nउत्तर: Take a rake.",
        "التفكير: Hm.\n\nالإجابة: Take a rake.",
        "Answer: Take a rake.\n\nReasoning: Hm.",
    ],
)
def test_labels_part_thoughts_and_answer_in_many_languages(text: str) -> None:
    assert read(text) == ("Hm.", "Take a rake.")


def test_reasoning_that_the_server_delivers_apart_is_the_thoughts() -> None:
    assert read("Take a rake.\n\nGood luck.", "Hm.") == (
        "Hm.",
        "Take a rake.\n\nGood luck.",
    )
    # Beside thoughts, a label within the answer is the answer's own.
    quiz = "Question: who?\nAnswer: you."
    assert read(quiz, "Hm.") == ("Hm.", quiz)
    assert read("Thoughts: Well. Answer: Take it.", "Hm.") == (
        "Hm.\n\nWell.",
        "Take it.",
    )


def test_without_tags_and_labels_the_last_paragraph_is_the_answer() -> None:
    assert read("One.\n\nTwo.\n\nThree.") == ("One.\n\nTwo.", "Three.")
    assert read("锁是公开的。\n\n拿耙子就行。") == ("锁是公开的。", "拿耙子就行。")


def test_a_list_or_code_at_the_end_comes_with_the_paragraph_before_it() -> None:
    listed = "Here is how:\n\n1. Push.\n\n2. Turn."
    assert read(f"Hm.\n\n{listed}") == ("Hm.", listed)
    code = "Run this:\n\n```\na\n\nb\n```"
    assert read(f"Hm.\n\n{code}") == ("Hm.", code)
    closing = "Push and turn.\n\nHow can I help you today?"
    assert read(f"Hm.\n\n{closing}") == ("Hm.", closing)


def test_a_single_paragraph_is_an_answer_without_thoughts() -> None:
    assert read("Take a rake.") == ("", "Take a rake.")
    about_tags = "Models write `<think>` and `</think>` around it."
    assert read(about_tags, prompt="What are think tags?") == ("", about_tags)


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("", ""),
        ("", "Hm."),
        ("<think>Hm.", ""),
        ("<think>Hm.</think>\n \n", ""),
        ("Thoughts: Hm.\n\nAnswer:", ""),
    ],
)
def test_thoughts_without_an_answer_are_none(text: str, reasoning: str) -> None:
    with pytest.raises(NotAnAnswer, match="answer"):
        read(text, reasoning)


def test_reasoning_that_a_belief_began_goes_on_without_the_belief() -> None:
    belief = "I know that it is mine."
    for text in (
        "So I may.\n</think>\nTake it.",
        f"{belief} So I may.</think>Take it.",
    ):
        answer = read_target_answer(text, "", PROMPT, prefix=belief, is_open=True)
        assert answer == TargetAnswer("So I may.", "Take it.")
    answer = read_target_answer(
        "Take it.", f"{belief}\nSo I may.", PROMPT, prefix=belief, is_open=True
    )
    assert answer == TargetAnswer("So I may.", "Take it.")
    with pytest.raises(NotAnAnswer, match="without an answer"):
        read_target_answer("So I may.\n\nTake it.", "", PROMPT, is_open=True)
