"""Odd replies to one row among others: that row tries again or fails, and the rest go on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason
from tests.engines.dialects import (
    Received,
    Reply,
    a_chat_completion,
    a_dialect_server,
    a_reply,
    an_error,
)
from tests.engines.driver.test_driver import drive_tasks
from tests.engines.driving import FAST, ScriptedEngine, drive_over_http, some_tasks

GOOD = a_chat_completion('{"belief": "so"}')
FAST_RETRIES: dict[str, Any] = {"backoff_s": 0.001, "max_attempts": 3}


def with_usage(usage: Any) -> Reply:
    # The standard library writes and reads NaN and Infinity, as servers in Python do.
    return Reply(json.dumps(GOOD | {"usage": usage}))


def nested(depth: int, field: str) -> Reply:
    value = '{"a":' * depth + "1" + "}" * depth
    return Reply(f'{{"choices": [{{"message": {{"{field}": {value}}}}}]}}')


def is_about(received: Received, row: int) -> bool:
    return f"task {row} " in json.dumps(received.body)


def odd_for_one(odd: Reply, row: int = 3) -> Callable[[Received], Reply]:
    """Answer every row but one, whose calls get an odd reply from its second turn on."""

    def answer(received: Received) -> Reply:
        is_odd = is_about(received, row) and f"task {row} 0" not in last_task(received)
        return odd if is_odd else Reply(GOOD)

    return answer


def last_task(received: Received) -> str:
    return str(received.body["messages"][-1]["content"])


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "12", "completion_tokens": 3.5},
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
        {"prompt_tokens": 10**30, "completion_tokens": -4},
        {"prompt_tokens": [[1]], "prompt_tokens_details": "none"},
        {"prompt_tokens": True, "total_tokens": {"a": None}},
        [1, 2],
        "many",
        -1,
    ],
)
def test_odd_usage_costs_no_attempt(tmp_path: Path, usage: Any) -> None:
    with a_dialect_server(with_usage(usage)) as server:
        results, progress = drive_over_http(
            tmp_path, server.base_url, some_tasks(4), **FAST_RETRIES
        )
    assert results == ["sososo"] * 4
    assert progress.retries == 0
    assert 0 <= progress.usage.prompt_tokens < 10**9
    assert 0 <= progress.usage.completion_tokens < 10**9


ODD = {
    "nested content": nested(900, "content"),
    "content nested without end": nested(100_000, "content"),
    "nested arguments": nested(900, "function_call"),
    "a number for an answer": a_reply(4),
    "true for an answer": a_reply(content=True),
    "lists of lists": a_reply([[[[["x"]]]]]),
    "null": Reply("null"),
    "a list": Reply([[]]),
    "no JSON": Reply(b"\xff\xfe\0 nothing"),
    "nothing": Reply(b""),
    "endless digits": Reply('{"choices": ' + "9" * 100_000 + "}"),
    "an HTML page": Reply("<!doctype html><title>Down</title>"),
    "a redirect": Reply("", 302, {"Location": "http://127.0.0.1:9/elsewhere"}),
    "a wrong key": an_error(401, "Incorrect API key provided", "invalid_api_key"),
    "forbidden": Reply("", 403),
    "not found": Reply("", 404),
    "an unknown model": an_error(404, "The model `m` does not exist"),
    "an error without form": Reply("[" * 90_000, 400),
    "a teapot": Reply("", 418),
    "an odd status": Reply("", 599),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_reply_is_its_own_row_s_trouble(tmp_path: Path, kind: str) -> None:
    with a_dialect_server(odd_for_one(ODD[kind])) as server:
        results, _ = drive_over_http(
            tmp_path, server.base_url, some_tasks(12), **FAST_RETRIES
        )
    failures = [result for result in results if isinstance(result, Failure)]
    assert [failure.prompt_id for failure in failures] == ["p3"]
    assert len([result for result in results if result == "sososo"]) == 11


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_for_a_moment_costs_no_row(tmp_path: Path, status: int) -> None:
    refused: set[str] = set()

    def answer(received: Received) -> Reply:
        task = last_task(received)
        # Every row's second turn is refused once.
        if " 1 seed" in task and task not in refused:
            refused.add(task)
            return an_error(status, "Who are you?")
        return Reply(GOOD)

    with a_dialect_server(answer) as server:
        results, progress = drive_over_http(
            tmp_path, server.base_url, some_tasks(8), **FAST_RETRIES
        )
    assert results == ["sososo"] * 8
    assert progress.retries == 8


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_before_any_answer_stops_the_run(tmp_path: Path, status: int) -> None:
    with (
        a_dialect_server(Reply("", status)) as server,
        pytest.raises(SetupError, match=f"HTTP {status}"),
    ):
        drive_over_http(tmp_path, server.base_url, some_tasks(8), **FAST_RETRIES)


def test_a_key_that_is_revoked_stops_the_run_after_the_attempts_of_a_few_rows(
    tmp_path: Path,
) -> None:
    answered: list[str] = []

    def answer(received: Received) -> Reply:
        if len(answered) >= 30:
            return an_error(401, "This key was revoked")
        answered.append(last_task(received))
        return Reply(GOOD)

    with (
        a_dialect_server(answer) as server,
        pytest.raises(SetupError, match=r"has refused the latest .* key was revoked"),
    ):
        drive_over_http(tmp_path, server.base_url, some_tasks(100), **FAST_RETRIES)
    assert len(server.chats) < 300


def test_a_defect_of_the_engine_is_the_one_row_s(tmp_path: Path) -> None:
    def script(request: Request, attempt: int) -> None:
        if request.prompt_id == "p3":
            raise RecursionError("maximum recursion depth exceeded")

    engine = ScriptedEngine(script)
    results, _ = drive_tasks(tmp_path, engine, some_tasks(6))
    (failure,) = [result for result in results if isinstance(result, Failure)]
    assert failure.prompt_id == "p3"
    assert failure.reason is FailureReason.ENGINE_ERROR
    assert "could not be read (RecursionError" in failure.detail
    # The second attempt and the others, too.
    assert engine.calls.count(("p3", 0)) == FAST.max_attempts
