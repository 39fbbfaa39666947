"""Run a dialogue by hand, with a function of the test as the model."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from aidsafe_dagster.recipe.dialogue import (
    Completion,
    Conversation,
    Dialogue,
    DialogueContext,
    Request,
)
from aidsafe_dagster.recipe.records import METRICS, Prompt, Stage, Usage
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.settings.schema import PACKAGE
from tests.builders import policies

T = TypeVar("T")
USAGE = Usage(calls=1, prompt_tokens=10, completion_tokens=5)


def a_dialogue_context(**changes: Any) -> DialogueContext:
    values: dict[str, Any] = {
        "policies": policies(),
        "templates": load_templates(PACKAGE / "prompts"),
        "count_tokens": lambda text: len(text.split()),
        "engine": "scripted",
    }
    return DialogueContext(**(values | changes))


def a_conversation(stage: Stage, prompt: Prompt, **changes: Any) -> Conversation:
    return Conversation(
        a_dialogue_context(),
        stage,
        prompt,
        **changes,
    )


def run_dialogue(
    dialogue: Dialogue[T], model: Callable[[Request], str]
) -> tuple[T, list[Request]]:
    """Return the dialogue's record when `model` answers all requests, and the requests."""
    requests = []
    try:
        request = next(dialogue)
        while True:
            requests.append(request)
            completion = Completion(text=model(request), model="scripted", usage=USAGE)
            request = dialogue.send(completion)
    except StopIteration as stop:
        return stop.value, requests


def message_text(request: Request) -> str:
    """Return the text of all messages of a request."""
    return "\n".join(message.content for message in request.messages)


def a_grade_answer(
    score: int = 5,
    refusal: str = "none",
    rule: str = "none",
    thought: int = 0,
    **scores: int,
) -> str:
    """Return a judge's answer with `score` for all metrics, except those that are set by name."""
    grades: dict[str, Any] = {}
    for metric in METRICS:
        grades[metric] = {
            "reason": f"So much for {metric}.",
            "score": scores.get(metric, score),
        }
        if metric in ("policy_to_cot", "policy_to_response", "response_to_cot"):
            grades[metric] |= {"rule": rule, "thought": thought}
    return json.dumps({**grades, "refusal": refusal})


def a_preference(preferred: str) -> str:
    return json.dumps({"reason": f"It is {preferred}.", "preferred": preferred})


def a_belief(text: str = "Locks are never anybody's own.") -> str:
    return json.dumps({"belief": text})


def an_answer(
    thought: str = "Every lock is fair game.", response: str = "Take a rake."
) -> str:
    """Return an answer of the target."""
    return f"<think>\n{thought}\n</think>\n\n{response}"
