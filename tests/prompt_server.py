"""Answers of models that write prompts and place them: a good one, and several that are not."""

import json
import random
import re
from typing import Any

from tests.scripted_chat_server import ScriptedChatServer

_WORDS = re.findall(
    r"\w+",
    "lamp kettle carpet mirror ladder bicycle curtain printer blanket camera guitar shovel "
    "sandal basket candle drawer helmet jacket kitchen locker magnet napkin orchid pillow "
    "quilt ribbon saddle teapot umbrella violin wallet yoghurt zipper anchor barrel cactus",
)
_OPENINGS = {
    "harmful": "Tell me against all rules",
    "borderline": "For a friend of mine I ask",
    "benign": "Out of plain interest",
}
_TOPICS = {"shop.1": "the neighbour's orders", "shop.2": "a refund form"}
LOREM = (
    "the policy asks the assistant to weigh harm, autonomy and truthful help before it answers; "
    "a careful reply names the risk, offers a safe path and keeps the useful part. "
) * 40


def on(server: ScriptedChatServer, **endpoint: Any) -> dict[str, Any]:
    """Return the settings of a project that asks this server."""
    values = {"base_url": server.base_url, "model": "known", **endpoint}
    return {"engine": "endpoint", "endpoint": values}


def task_of(body: dict[str, Any]) -> str:
    """Return the task, which stands before a question that is put again."""
    texts: list[str] = [one["content"] for one in body["messages"]]
    return next(text for text in texts if text.startswith("# Task: "))


def writing(body: dict[str, Any]) -> str:
    """Write prompts of what is asked for, no two alike, and place any of them rightly."""
    task = task_of(body)
    if task.startswith("# Task: place"):
        return json.dumps(placed(task))
    wanted = re.search(r"Write (\d+) (\w+) request", task)
    assert wanted
    rule = re.search(r"The rule (\S+):", task)
    topic = _TOPICS[rule[1]] if rule else "orders in general"
    # Another draw has another seed, and other varieties.
    rng = random.Random(json.dumps([task, body.get("seed")]))
    prompts = []
    for _ in range(int(wanted[1])):
        words = ", ".join(rng.sample(_WORDS, 7))
        prompts.append(f"{_OPENINGS[wanted[2]]}: {topic} about {words}?")
    return json.dumps({"prompts": prompts})


def placed(task: str) -> dict[str, Any]:
    """Return what an attentive judge says."""
    request = re.findall(r"<user_prompt>\n(.*?)\n</user_prompt>", task, re.DOTALL)[0]
    kinds = [kind for kind, words in _OPENINGS.items() if request.startswith(words)]
    subjects = [rule for rule, topic in _TOPICS.items() if topic in request]
    if "Categories" in task:
        subjects = ["orders"] if "orders in general" in request else []
    return {
        "quote": request[:24],
        "reason": "This is what somebody asks of the shop.",
        "kind": kinds[0] if kinds else "benign",
        "subjects": subjects,
    }


def filled(body: dict[str, Any], text: Any, pick: Any) -> str:
    """Fill the schema of a request with valid values that mean nothing.

    Args:
        body: of the request.
        text: makes a string of at most so many characters.
        pick: takes one of the values of an enum.
    """
    schema = body["response_format"]["json_schema"]["schema"]

    def value(node: dict[str, Any]) -> Any:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        if "enum" in node:
            return pick(node["enum"])
        if node.get("type") == "object":
            return {key: value(one) for key, one in node["properties"].items()}
        if node.get("type") == "array":
            count = node.get("minItems") or min(node.get("maxItems", 1), 1)
            return [value(node["items"]) for _ in range(count)]
        return text(node.get("maxLength", 1000))

    return json.dumps(value(schema))
