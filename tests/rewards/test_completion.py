"""Completions of a model in training, in the shapes that trainers hand over."""

import pytest

from aidsafe_dagster.rewards.completion import (
    Completion,
    prompt_turns,
    read_completion,
)

GOOD = (
    "<think>\nThe user wants bread.\n\nNo rule forbids it.\n</think>\n\nMix and bake."
)


def as_message(content: str, **fields: str) -> Completion:
    return [{"role": "assistant", "content": content, **fields}]


@pytest.mark.parametrize("completion", [GOOD, as_message(GOOD)])
def test_thoughts_and_response_are_taken_apart(completion: Completion) -> None:
    read = read_completion(completion)
    assert read.thoughts == ("The user wants bread.", "No rule forbids it.")
    assert read.response == "Mix and bake."
    assert read.has_form


def test_an_opening_tag_may_be_part_of_the_prompt() -> None:
    read = read_completion(GOOD.removeprefix("<think>\n"))
    assert read.has_form
    assert read.thoughts[0] == "The user wants bread."


def test_reasoning_may_be_in_a_field() -> None:
    completion = as_message("Mix and bake.", reasoning_content="The user wants bread.")
    read = read_completion(completion)
    assert read.has_form
    assert read.thoughts == ("The user wants bread.",)


@pytest.mark.parametrize(
    "completion",
    [
        "Mix and bake.",
        "<think>\nThe user wants",
        "<think>\n\n</think>\n\nMix and bake.",
        "<think>\nThe user wants bread.\n</think>\n\n",
        "<think>a</think>b<think>c</think>d",
        "",
        [],
        [{"role": "assistant", "content": None}],
    ],
)
def test_anything_else_has_not_the_form(completion: Completion) -> None:
    assert not read_completion(completion).has_form


def test_the_prompt_is_the_last_user_turn() -> None:
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "How do I bake bread?"},
    ]
    assert [turn.content for turn in prompt_turns(turns)] == [
        str(turn["content"]) for turn in turns
    ]
    (alone,) = prompt_turns("How do I bake bread?")
    assert (alone.role, alone.content) == ("user", "How do I bake bread?")
    assert prompt_turns([])[-1].content == ""
