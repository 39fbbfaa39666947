"""Rows driven against servers that differ from vLLM: which are right, which fail, at what cost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason
from tests.engines.dialects import (
    DialectServer,
    Received,
    Reply,
    a_dialect_server,
    a_reply,
    an_error,
)
from tests.engines.driving import drive_over_http, some_tasks

ANSWER = '{"belief": "so"}'
THINKING = "Okay, the user wants {JSON}."
ROWS = 4
TURNS = 3


def results_of(
    folder: Path, answer: Callable[[Received], Reply]
) -> tuple[list[str | Failure], DialectServer]:
    with a_dialect_server(answer) as server:
        results, _ = drive_over_http(
            folder, server.base_url, some_tasks(ROWS), backoff_s=0.001
        )
    return results, server


@pytest.mark.parametrize(
    "message",
    [
        {"content": f"{THINKING}\n</think>\n\n{ANSWER}"},
        {"content": f"<think>\n{THINKING}\n</think>\n\n{ANSWER}"},
        {"content": None, "reasoning_content": ANSWER},
        {"content": None, "reasoning": f"{THINKING} {ANSWER}"},
        {"content": [{"type": "text", "text": ANSWER}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": ANSWER},
            ]
        },
    ],
)
def test_rows_of_a_reasoning_model_cost_no_call_more(
    tmp_path: Path, message: dict[str, Any]
) -> None:
    results, server = results_of(tmp_path, lambda _: a_reply(**message))
    assert results == ["so" * TURNS] * ROWS
    assert len(server.chats) == ROWS * TURNS


def is_about(received: Received, row: int) -> bool:
    return f"task {row} " in json.dumps(received.body["messages"])


FLAGGED = an_error(403, "Your input was flagged by moderation", 403)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (FLAGGED, FailureReason.MODERATED),
        (a_reply(None, "content_filter"), FailureReason.MODERATED),
        (
            an_error(400, "maximum context length is 8192 tokens"),
            FailureReason.CONTEXT_OVERFLOW,
        ),
        (a_reply(None, "length", reasoning="Hm"), FailureReason.CUT_IN_REASONING),
        (a_reply(None, refusal="I must not."), FailureReason.REFUSED_TO_DELIBERATE),
    ],
)
def test_what_is_one_row_s_trouble_fails_that_row_with_one_call(
    tmp_path: Path, reply: Reply, reason: FailureReason
) -> None:
    results, server = results_of(
        tmp_path, lambda received: reply if is_about(received, 1) else a_reply(ANSWER)
    )
    failures = [result for result in results if isinstance(result, Failure)]
    assert [failure.reason for failure in failures] == [reason]
    assert results.count("so" * TURNS) == ROWS - 1
    assert len(server.chats) == (ROWS - 1) * TURNS + 1


def test_a_busy_server_under_status_200_costs_no_row(tmp_path: Path) -> None:
    turn: list[int] = []

    def answer(_: Received) -> Reply:
        turn.append(1)
        if len(turn) % 2:
            body = {"error": {"message": "retry shortly", "code": 429}}
            return Reply(body, headers={"Retry-After": "0"})
        return a_reply(ANSWER)

    results, _ = results_of(tmp_path, answer)
    assert results == ["so" * TURNS] * ROWS


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            Reply({"error": {"message": "monthly quota exhausted", "code": 402}}),
            "monthly quota exhausted; the account has no credit",
        ),
        (
            an_error(400, "Unsupported parameter: 'seed'", "unsupported_parameter"),
            'omit = ["seed"]',
        ),
        (an_error(401, "Who are you?"), "Who are you"),
        (an_error(404, "The model `m` does not exist."), "served: served-model"),
        (Reply("", 404), "model is 'm', served: served-model"),
    ],
)
def test_what_no_row_survives_stops_the_run_at_once(
    tmp_path: Path, reply: Reply, message: str
) -> None:
    with a_dialect_server(reply) as server:
        with pytest.raises(SetupError) as raised:
            drive_over_http(tmp_path, server.base_url, some_tasks(ROWS))
        # Those that were in flight together.
        assert len(server.chats) <= ROWS
    assert str(raised.value).startswith(f"{server.base_url}: HTTP ")
    assert message in str(raised.value)
