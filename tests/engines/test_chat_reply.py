"""Replies of many dialects, each from a real server on loopback."""

import json
from typing import Any

import pytest

from aidsafe_dagster.engines.protocol import RequestRejected, RetryableError
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import FailureReason, Role
from tests.engines.completing import Outcome, outcome_of
from tests.engines.dialects import USAGE, Reply, a_chat_completion, a_reply
from tests.engines.test_journal import a_request

ANSWER = '{"thought": "so", "rules": []}'
THINKING = "Okay, the user wants JSON. Let me think about it {carefully}."
KEEP = {"reasoning": "keep"}
SCHEMA = {"type": "object", "required": ["thought"]}


def completion(reply: Reply, **settings: Any) -> Completion:
    outcome = outcome_of(reply, settings=KEEP | settings)
    assert isinstance(outcome, Completion), outcome
    return outcome


def rejection(reply: Reply, attempt: int = 0, **changes: Any) -> RequestRejected:
    outcome = outcome_of(reply, attempt, a_request(**changes))
    assert isinstance(outcome, RequestRejected), outcome
    return outcome


def test_a_completion_holds_text_model_and_token_counts() -> None:
    result = completion(a_reply(ANSWER))
    assert (result.text, result.model) == (ANSWER, "m-1")
    assert result.usage.model_dump() == {
        "calls": 1,
        "prompt_tokens": 30,
        "cached_tokens": 16,
        "completion_tokens": 5,
        "reasoning_tokens": 0,
        "cost": 0.0,
    }


def parts(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text} for text in texts]


@pytest.mark.parametrize(
    "content",
    [
        ANSWER,
        parts(ANSWER),
        parts(ANSWER[:9], ANSWER[9:]),
        [{"type": "output_text", "text": ANSWER}],
        [{"text": ANSWER}],
        [ANSWER[:9], ANSWER[9:]],
        {"type": "text", "text": ANSWER},
        {"text": ANSWER},
        [{"type": "text", "text": {"value": ANSWER}}],
        [{"type": "image_url", "image_url": {"url": "x"}}, *parts(ANSWER)],
        json.loads(ANSWER),
    ],
)
def test_an_answer_is_found_in_a_content_of_any_form(content: Any) -> None:
    result = completion(a_reply(content))
    assert (result.text, result.reasoning) == (ANSWER, "")


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning": THINKING},
        {"reasoning_content": THINKING},
        {"thinking": THINKING},
        {"reasoning": None, "reasoning_content": THINKING},
        {"reasoning": THINKING, "reasoning_details": [{"text": THINKING}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": THINKING}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": THINKING}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": THINKING}]},
        {"content": [{"type": "thinking", "thinking": THINKING}, *parts(ANSWER)]},
        {
            "content": [
                {"type": "thinking", "thinking": parts(THINKING)},
                *parts(ANSWER),
            ]
        },
        {"content": f"<think>\n{THINKING}\n</think>\n\n{ANSWER}"},
        {"content": f"{THINKING}\n</think>\n\n{ANSWER}"},
        {"content": f"<THINK>{THINKING}</THINK>{ANSWER}"},
        {"content": f"<thinking>{THINKING}</thinking>{ANSWER}"},
        {"content": f"<seed:think>{THINKING}</seed:think>{ANSWER}"},
        {"content": f"[THINK]{THINKING}[/THINK]{ANSWER}"},
    ],
)
def test_reasoning_is_told_apart_from_the_answer(message: dict[str, Any]) -> None:
    reply = a_reply(**{"content": ANSWER, **message})
    result = completion(reply)
    assert (result.text, result.reasoning) == (ANSWER, THINKING)
    assert 0 < result.usage.reasoning_tokens < result.usage.completion_tokens
    for reasoning in ("drop", "off"):
        result = completion(reply, reasoning=reasoning)
        assert (result.text, result.reasoning) == (ANSWER, "")


def test_several_blocks_of_reasoning_are_joined() -> None:
    result = completion(a_reply(f"One.</think>\n<think>Two.</think>{ANSWER}"))
    assert (result.text, result.reasoning) == (ANSWER, "One.\nTwo.")


@pytest.mark.parametrize(
    "text",
    [
        '{"thought": "close with </think> and go on", "rules": []}',
        'Here it is: {"thought": "close with </think>", "rules": []}',
        '```json\n{"thought": "close with </think>"}\n```',
    ],
)
def test_a_tag_that_an_answer_quotes_ends_no_reasoning(text: str) -> None:
    result = completion(a_reply(text))
    assert (result.text, result.reasoning) == (text, "")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("content", [None, "", "  "])
def test_an_answer_in_the_reasoning_field_is_an_answer_and_no_reasoning(
    field: str, content: str | None
) -> None:
    for thoughts in (ANSWER, f'First {{"thought": "no"}}. {THINKING}\n{ANSWER}\nDone.'):
        reply = a_reply(content, **{field: thoughts})
        result = completion(reply)
        assert (result.text, result.reasoning) == (ANSWER, "")
        assert result.usage.reasoning_tokens == 0


def test_an_answer_after_which_an_example_comes_is_known_by_its_fields() -> None:
    thoughts = f'{ANSWER} not {{"other": 1}}'
    outcome = outcome_of(
        a_reply(None, reasoning=thoughts), request=a_request(schema=SCHEMA)
    )
    assert isinstance(outcome, Completion)
    assert outcome.text == ANSWER


def test_reasoning_without_an_answer_is_asked_for_again() -> None:
    outcome = outcome_of(a_reply(None, reasoning=THINKING))
    assert isinstance(outcome, RetryableError)
    assert "the answer is empty, after 61 characters of reasoning" in str(outcome)


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"function": {"name": "x", "arguments": ANSWER}}]},
        {"tool_calls": [{"function": {"arguments": json.loads(ANSWER)}}]},
        {"function_call": {"name": "x", "arguments": ANSWER}},
    ],
)
def test_an_answer_may_be_the_arguments_of_a_tool(message: dict[str, Any]) -> None:
    assert completion(a_reply(None, "tool_calls", **message)).text == ANSWER


def test_a_completion_without_a_chat_is_an_answer() -> None:
    reply = Reply({"choices": [{"text": ANSWER, "finish_reason": "stop"}]})
    result = completion(reply)
    assert (result.text, result.model) == (ANSWER, "m")


def test_a_byte_order_mark_and_several_choices_do_no_harm() -> None:
    body = a_chat_completion(ANSWER)
    body["choices"].append({"index": 1, "message": {"content": "other"}})
    reply = Reply(b"\xef\xbb\xbf" + json.dumps(body).encode())
    assert completion(reply).text == ANSWER


def a_stream(*events: Any) -> Reply:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    body = ": a comment\n\n" + "".join(lines) + "data: [DONE]\n\n"
    return Reply(body, headers={"Content-Type": "text/event-stream"})


def a_delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_a_stream_that_nobody_asked_for_is_put_together() -> None:
    result = completion(
        a_stream(
            a_delta(role="assistant", reasoning_content="Let me "),
            a_delta(reasoning_content="think."),
            a_delta(content='{"thought": '),
            a_delta(content=" "),
            a_delta("stop", content='"so"}'),
            {"choices": [], "usage": USAGE, "model": "m-2"},
        )
    )
    assert (result.text, result.model) == ('{"thought":  "so"}', "m-2")
    assert result.reasoning == "Let me think."
    assert result.usage.prompt_tokens == 30


def test_a_stream_that_ends_early_is_no_answer() -> None:
    outcome = outcome_of(a_stream(a_delta(content="{")))
    assert isinstance(outcome, RetryableError)


def test_an_error_in_a_stream_is_an_error() -> None:
    outcome = outcome_of(a_stream({"error": {"message": "no money", "code": 402}}))
    assert isinstance(outcome, SetupError)
    assert "no money" in str(outcome)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "many",
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": "30", "completion_tokens": 5.0},
        {"prompt_tokens": -3, "completion_tokens": 10**30},
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
        {"prompt_tokens": {"text": 3}, "prompt_tokens_details": 7},
        {"prompt_tokens_details": {"cached_tokens": None}, "total_tokens": True},
    ],
)
def test_no_usage_costs_an_answer(usage: Any) -> None:
    body = a_chat_completion(ANSWER) | {"usage": usage}
    assert completion(Reply(body)).text == ANSWER


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning": THINKING},
        {"content": "", "reasoning_content": THINKING + ' {"thought": "dra'},
        {"content": f"<think>\n{THINKING}"},
        {"content": THINKING},
        {"content": [{"type": "thinking", "thinking": THINKING}]},
    ],
)
@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS"])
def test_a_cut_within_the_reasoning_is_called_that_at_once(
    message: dict[str, Any], finish: str
) -> None:
    error = rejection(a_reply(**message, finish=finish))
    assert error.reason is FailureReason.CUT_IN_REASONING
    assert "reached the limit of 8,192 before an answer began" in str(error)
    assert 'reasoning_budget or sampling.max_tokens, or reasoning = "off"' in str(error)


def test_reasoning_that_a_server_hides_can_be_what_was_cut() -> None:
    body = a_chat_completion("", "length")
    body["usage"] = {
        "completion_tokens": 4096,
        "completion_tokens_details": {"reasoning_tokens": 4096},
    }
    error = rejection(Reply(body))
    assert error.reason is FailureReason.CUT_IN_REASONING
    assert "(4,096 tokens)" in str(error)


def test_a_label_cut_within_the_reasoning_is_no_label() -> None:
    for content in ("<think>", None):
        error = rejection(
            a_reply(content, "length", reasoning="Okay"),
            schema={},
            labels=("Yes", "No"),
        )
        assert error.reason is FailureReason.CUT_IN_REASONING


def test_an_answer_cut_at_the_token_limit_is_retried_twice_and_then_rejected() -> None:
    reply = a_reply('{"a', "length")
    for attempt in (0, 1):
        outcome = outcome_of(reply, attempt)
        assert isinstance(outcome, RetryableError)
        assert "cut" in str(outcome)
    assert "cut" in str(rejection(reply, 2))


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "guardrail_intervened"])
@pytest.mark.parametrize("content", [None, "Sure, here"])
def test_an_answer_that_a_filter_stopped_is_moderated(
    finish: str, content: str | None
) -> None:
    error = rejection(a_reply(content, finish))
    assert error.reason is FailureReason.MODERATED


def test_a_full_context_is_a_context_overflow() -> None:
    error = rejection(a_reply('{"a', "model_context_window_exceeded"))
    assert error.reason is FailureReason.CONTEXT_OVERFLOW


REFUSAL = "I can't help with that."
REFUSALS = [
    a_reply(None, refusal=REFUSAL),
    a_reply([{"type": "refusal", "refusal": REFUSAL}]),
    a_reply(REFUSAL, "refusal"),
]


@pytest.mark.parametrize("reply", REFUSALS)
def test_a_refusal_of_the_task_is_a_reason_of_its_own(reply: Reply) -> None:
    error = rejection(reply)
    assert error.reason is FailureReason.REFUSED_TO_DELIBERATE
    assert REFUSAL in str(error)


@pytest.mark.parametrize("reply", REFUSALS)
@pytest.mark.parametrize("role", [Role.TARGET, Role.CANDIDATE])
def test_a_refusal_of_the_user_is_an_answer(reply: Reply, role: Role) -> None:
    outcome = outcome_of(reply, request=a_request(role=role))
    assert isinstance(outcome, Completion)
    assert outcome.text == REFUSAL


def test_the_reasoning_that_a_candidate_writes_is_part_of_its_answer() -> None:
    text = "<think>\nSo.\n</think>\n\nNo."
    outcome = outcome_of(a_reply(text), request=a_request(role=Role.CANDIDATE))
    assert isinstance(outcome, Completion)
    assert outcome.text == text


@pytest.mark.parametrize("text", ["On and on and", "<think>\nOn and on and"])
def test_what_a_candidate_says_up_to_its_limit_is_its_answer(text: str) -> None:
    reply = a_reply(text, "length")
    outcome = outcome_of(reply, request=a_request(role=Role.CANDIDATE))
    assert isinstance(outcome, Completion)
    assert outcome.text == text


def test_the_score_of_a_prompt_is_read_whatever_was_generated_after_it() -> None:
    body = a_chat_completion("", "length")
    body["prompt_logprobs"] = [None, {"7": {"logprob": -2.5}}]
    request = a_request(role=Role.CANDIDATE, scores_prompt=True)
    outcome = outcome_of(Reply(body), request=request)
    assert isinstance(outcome, Completion)
    assert json.loads(outcome.text) == {"tokens": 2, "log_probability": -2.5}
    assert outcome.usage.prompt_tokens == USAGE["prompt_tokens"]


def test_a_server_that_ignores_the_wish_for_a_score_is_not_asked_again() -> None:
    error = rejection(a_reply("Hello"), role=Role.CANDIDATE, scores_prompt=True)
    assert "prompt_logprobs" in str(error)


def test_characters_that_cannot_be_stored_are_replaced() -> None:
    reply = a_reply("a\ud800b\0c", reasoning="d\ud800")
    result = completion(reply)
    assert (result.text, result.reasoning) == ("a?b\ufffdc", "d?")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "OK",
        "[]",
        "{}",
        "7",
        "null",
        '{"choices": []}',
        '{"choices": {}}',
        '{"choices": [null]}',
        '{"choices": [{}]}',
        '{"choices": [{"message": null}]}',
        json.dumps(a_chat_completion(""))[:40],
        "[" * 100_000,
    ],
)
def test_a_body_without_an_answer_is_retryable(body: str) -> None:
    assert isinstance(outcome_of(Reply(body)), RetryableError)


@pytest.mark.parametrize("content", ["", "  ", None, [], {}, [{"type": "image"}]])
def test_an_empty_answer_is_retryable(content: Any) -> None:
    outcome: Outcome = outcome_of(a_reply(content))
    assert isinstance(outcome, RetryableError)
    assert "the answer is empty" in str(outcome)
