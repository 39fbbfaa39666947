"""Drives a dialogue by hand: the test is the model."""

from collections.abc import Callable
from typing import Any, TypeVar

from aidsafe_dagster.recipe.dialogue import Brief, Completion, Conversation, Dialogue, Request
from aidsafe_dagster.recipe.records import Prompt, Stage, Usage
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.settings import PACKAGE
from tests.builders import policies

T = TypeVar("T")
USAGE = Usage(calls=1, prompt_tokens=10, completion_tokens=5)


def a_brief(**changes: Any) -> Brief:
    values: dict[str, Any] = {
        "policies": policies(),
        "templates": Templates(PACKAGE / "prompts"),
        "count_tokens": lambda text: len(text.split()),
        "engine": "scripted",
    }
    return Brief(**(values | changes))


def a_conversation(stage: Stage, prompt: Prompt, **changes: Any) -> Conversation:
    return Conversation(a_brief(), stage, prompt, **changes)


def speak(dialogue: Dialogue[T], model: Callable[[Request], str]) -> tuple[T, list[Request]]:
    """The dialogue's record when `model` answers every request, and the requests."""
    requests = []
    try:
        request = next(dialogue)
        while True:
            requests.append(request)
            request = dialogue.send(Completion(text=model(request), model="scripted", usage=USAGE))
    except StopIteration as stop:
        return stop.value, requests
