"""Errors of real servers and gateways, each over HTTP: what they mean and what they say."""

import asyncio
import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from aidsafe_dagster.engines.protocol import (
    ErrorKind,
    RateLimits,
    RequestRejected,
    RetryableError,
)
from aidsafe_dagster.engines.rate_limits import wait_s
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import FailureReason, Message
from tests.engines.completing import an_engine, complete, outcome_of, outcomes
from tests.engines.dialects import Received, Reply, a_dialect_server, a_reply, an_error
from tests.engines.test_journal import a_request

KEY = "sk-very-secret-0123456789"
ZED = "zed"
"""In a prompt: the one that a server refuses."""


def busy(reply: Reply) -> RetryableError:
    outcome = outcome_of(reply)
    assert isinstance(outcome, RetryableError), outcome
    assert outcome.kind is ErrorKind.RATE_LIMITED
    return outcome


def stop(reply: Reply, **settings: Any) -> str:
    """Return the message with which a run stops at a server's first reply."""
    outcome = outcome_of(reply, settings=settings)
    assert isinstance(outcome, SetupError), outcome
    message = str(outcome)
    assert message.startswith("http://127.0.0.1:")
    return message


def row_failure(reply: Reply) -> tuple[FailureReason, str]:
    outcome = outcome_of(reply)
    assert isinstance(outcome, RequestRejected), outcome
    return outcome.reason, str(outcome)


GOOGLE_MINUTE = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "…/google.rpc.RetryInfo", "retryDelay": "34s"}],
    }
}


@pytest.mark.parametrize(
    "reply",
    [
        Reply("busy", 429),
        Reply("", 529),
        Reply({"error": {"message": "Rate limit exceeded", "code": 429}}),
        Reply({"error": {"message": "Rate limit exceeded", "code": "429"}}),
        Reply({"error": {"message": "Wait", "code": 429.0}}),
        Reply({"error": {"message": "Slow", "code": "rate_limit_exceeded"}}),
        Reply({"choices": [{"error": {"message": "Slow down", "code": 429}}]}),
        Reply({"error": {"type": "overloaded_error", "message": "Overloaded"}}, 500),
        Reply({"type": "error", "error": {"type": "rate_limit_error"}}),
        Reply({"object": "error", "message": "too many", "code": 429}),
        Reply({"error": "The model is overloaded, try again later"}, 503),
        Reply({"error": {"message": "throttled", "code": 429}}, 500),
        Reply({"success": False, "errors": [{"code": 429, "message": "Slow"}]}),
        Reply({"code": 429, "msg": "too many"}),
        Reply(GOOGLE_MINUTE, 429),
        Reply([GOOGLE_MINUTE], 429),
        an_error(
            429,
            "Rate limit reached on tokens per day (TPD). Please try again in 6m0s. "
            "Need more tokens? Visit https://x.example/settings/billing",
            "rate_limit_exceeded",
        ),
    ],
)
def test_a_busy_server_is_rate_limited(reply: Reply) -> None:
    busy(reply)


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"Retry-After": "7"}, "", 7.0),
        ({"Retry-After": "1.5"}, "", 1.5),
        ({"Retry-After": "86400"}, "", 86400.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "", 0.0),
        ({"retry-after-ms": "250", "Retry-After": "1"}, "", 0.25),
        ({"Retry-After": "soon"}, "", None),
        ({}, "Please try again in 1.5s.", 1.5),
        ({}, "Please retry in 34.07s.", 34.07),
        ({}, "Please try again in 6m0s.", 360.0),
        ({}, "Please try again in 20ms.", 0.02),
        ({}, "Please retry after 12 seconds.", 12.0),
        ({}, "You may try again in 2 minutes", 120.0),
        ({"x-ratelimit-reset-requests": "1m30s"}, "", 90.0),
        (
            {
                "x-ratelimit-reset-requests": "10h",
                "x-ratelimit-remaining-requests": "20",
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-tokens": "0",
            },
            "",
            2.0,
        ),
        ({}, "slow down", None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read_in_any_form(
    headers: dict[str, str], message: str, seconds: float | None
) -> None:
    error = busy(an_error(429, message, headers=headers))
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    "header",
    [
        lambda at: {"Retry-After": formatdate(at, usegmt=True)},
        lambda at: {"x-ratelimit-reset": str(int(at))},
        lambda at: {"x-ratelimit-reset": str(int(at * 1000))},
        lambda at: {
            "anthropic-ratelimit-requests-reset": time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)
            )
        },
    ],
)
def test_a_wait_may_be_a_time_of_day(header: Callable[[float], dict[str, str]]) -> None:
    headers = header(time.time() + 1000)
    wait = busy(an_error(429, "later", headers=headers)).retry_after_s
    assert wait is not None
    assert 900 < wait <= 1001


def test_a_time_of_day_is_read_against_the_servers_own_clock() -> None:
    at = time.time() - 7200
    headers = {
        "Date": formatdate(at, usegmt=True),
        "Retry-After": formatdate(at + 30, usegmt=True),
    }
    assert wait_s(headers, "later") == 30.0


def test_google_s_wait_is_in_the_body() -> None:
    assert busy(Reply(GOOGLE_MINUTE, 429)).retry_after_s == 34.0


@pytest.mark.parametrize(
    ("headers", "message", "limits"),
    [
        (
            {"x-ratelimit-limit-requests": "60", "x-ratelimit-limit-tokens": "9000"},
            "",
            RateLimits(60, 9000),
        ),
        ({"anthropic-ratelimit-requests-limit": "50"}, "", RateLimits(50)),
        (
            {},
            "Rate limit reached for m on requests per min (RPM): Limit 3, Used 3",
            RateLimits(3),
        ),
        ({}, "slow down", None),
    ],
)
def test_the_limits_that_a_server_names_go_with_the_error(
    headers: dict[str, str], message: str, limits: RateLimits | None
) -> None:
    assert busy(an_error(429, message, headers=headers)).limits == limits


NO_CREDIT = [
    an_error(402, "Insufficient credits. Add more credits.", 402),
    an_error(429, "You exceeded your current quota", "insufficient_quota"),
    an_error(400, "Your credit balance is too low to access the API."),
    an_error(403, "Billing hard limit has been reached", "billing_hard_limit_reached"),
    Reply({"error": {"message": "monthly quota exhausted", "code": 402}}),
    Reply({"error": {"message": "monthly quota exhausted", "code": "402"}}),
]


@pytest.mark.parametrize("reply", NO_CREDIT)
def test_an_account_without_credit_stops_the_run_even_in_its_middle(
    reply: Reply,
) -> None:
    message = stop(reply)
    assert "no credit or quota left" in message
    assert after_an_answer(reply).count(SetupError) == 1


def after_an_answer(reply: Reply, refused: int = 1) -> list[type]:
    """Return the outcomes of refused calls after a call that was answered."""

    def answer(received: Received) -> Reply:
        is_refused = ZED in json.dumps(received.body["messages"])
        return reply if is_refused else a_reply()

    zed = a_request(messages=(Message(role="user", content=ZED),))
    with a_dialect_server(answer) as server:
        results = outcomes(server.base_url, [a_request(), *[zed] * refused])
    assert isinstance(results[0], Completion)
    return [type(result) for result in results[1:]]


WRONG_KEY = [
    an_error(401, "Incorrect API key provided", "invalid_api_key"),
    an_error(403, "Forbidden"),
    an_error(400, "API key not valid. Please pass a valid API key."),
    an_error(400, "No connected db.", "400", type="no_db_connection"),
    Reply({"error": {"message": "No auth", "code": 401}}),
    Reply({"error": {"message": "bad", "type": "authentication_error"}}),
]
UNKNOWN_MODEL = [
    an_error(404, "The model `m` does not exist."),
    Reply({"error": 'model "m" not found, try pulling it first'}, 404),
    an_error(400, "m is not a valid model ID"),
    an_error(400, "no", "model_not_found"),
    Reply({"detail": "Invalid model: m"}, 400),
]


@pytest.mark.parametrize("reply", WRONG_KEY)
def test_a_wrong_key_stops_the_run_and_names_its_variable(reply: Reply) -> None:
    assert "no key is sent: AIDSAFE_API_KEY is not set" in stop(reply)


@pytest.mark.parametrize("reply", UNKNOWN_MODEL)
def test_an_unknown_model_stops_the_run_and_names_those_that_are_served(
    reply: Reply,
) -> None:
    assert stop(reply).endswith("model is 'm', served: served-model")


def test_the_key_is_sent_as_a_bearer_token_and_masked_in_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    with a_dialect_server(an_error(401, f"bad key {KEY}")) as server:
        with pytest.raises(SetupError) as raised:
            complete(server.base_url, api_key_env="MY_KEY")
        assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "bad key ***; is the key in MY_KEY right?" in str(raised.value)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("", "base_url should end with /v1: http://127.0.0.1:PORT/v1"),
        ("/api", "base_url should end with /v1: http://127.0.0.1:PORT/api/v1"),
        (
            "/v1/chat/completions",
            "base_url should end before /chat/completions: http://127.0.0.1:PORT/v1",
        ),
        ("/v2", "is the path of base_url right?"),
    ],
)
@pytest.mark.parametrize(
    "body", ['{"detail": "Not Found"}', "<!doctype html><title>404</title>", ""]
)
def test_a_wrong_path_stops_the_run_and_says_what_is_wrong_with_it(
    path: str, advice: str, body: str
) -> None:
    with (
        a_dialect_server(Reply(body, 404), models=Reply(body, 404)) as server,
        pytest.raises(SetupError) as raised,
    ):
        complete(server.root + path)
    assert str(raised.value).endswith(advice.replace("PORT", str(server.port)))


UNSUPPORTED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
)
PARAMETERS = [
    (
        an_error(
            400,
            f"{UNSUPPORTED} 'max_completion_tokens' instead.",
            "unsupported_parameter",
            param="max_tokens",
        ),
        'rename = { max_tokens = "max_completion_tokens" }',
    ),
    (
        Reply(
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "seed"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
            422,
        ),
        'omit = ["seed"]',
    ),
    (an_error(400, "Unrecognized request argument supplied: seed"), 'omit = ["seed"]'),
    (
        an_error(
            400,
            "litellm.UnsupportedParamsError: x does not support parameters: ['seed'], for "
            "model=m. To drop these, set `litellm.drop_params=True`",
        ),
        'omit = ["seed"]',
    ),
    (Reply({"error": 'json: unknown field "seed"'}, 400), 'omit = ["seed"]'),
    (an_error(400, "property 'seed' is unsupported"), 'omit = ["seed"]'),
    (
        an_error(
            400,
            "Unsupported value: 'temperature' does not support 0.7 with this model.",
            "unsupported_value",
            param="temperature",
        ),
        'omit = ["temperature"]',
    ),
    (
        an_error(
            400,
            "`temperature` and `top_p` cannot both be specified for this model.",
            type="invalid_request_error",
        ),
        'omit = ["top_p"]',
    ),
    (an_error(400, "System role not supported"), 'system = "user"'),
    (an_error(500, "System role not supported", "server_error"), 'system = "user"'),
    (
        an_error(400, "Conversation roles must alternate user/assistant/user"),
        'system = "user"',
    ),
    (
        an_error(
            400,
            "Invalid schema for response_format 'x': In context=('properties', 'thought'), "
            "'maxLength' is not permitted.",
            "invalid_json_schema",
        ),
        'schema_omit = ["maxLength"]',
    ),
    (
        an_error(
            400,
            "output_format.schema: For 'integer' type, properties maximum, minimum are not "
            "supported",
        ),
        'schema_omit = ["minimum", "maximum"]',
    ),
    (
        an_error(400, "This response_format type is unavailable now"),
        'output = "json"',
    ),
    (
        an_error(400, "'response_format.type' must be 'text' or 'json_object'"),
        'output = "json"',
    ),
    (
        an_error(
            400, "max_tokens is too large: 4096. This model supports at most 1024"
        ),
        "a smaller sampling.max_tokens",
    ),
]


@pytest.mark.parametrize(("reply", "advice"), PARAMETERS)
def test_a_refused_parameter_stops_the_run_and_says_what_to_set(
    reply: Reply, advice: str
) -> None:
    message = stop(reply)
    assert f"set {advice} in [endpoint]" in message


def test_what_is_omitted_already_stays_in_the_advice() -> None:
    reply = an_error(400, "Unrecognized request argument supplied: top_p")
    assert 'omit = ["seed", "top_p"]' in stop(reply, omit=["seed"])


def test_a_field_of_one_s_own_is_to_be_taken_out_where_it_stands() -> None:
    reply = an_error(400, "Unknown parameter: 'min_p'.", "unknown_parameter")
    message = stop(reply, extra_body={"min_p": 0.1})
    assert "take 'min_p' out of extra_body in [endpoint]" in message


def test_a_refused_parameter_after_answers_fails_the_one_row() -> None:
    assert after_an_answer(PARAMETERS[0][0]) == [RequestRejected]


@pytest.mark.parametrize("reply", [*WRONG_KEY, *UNKNOWN_MODEL, Reply("", 404)])
def test_a_caller_who_was_answered_and_is_refused_tries_again(reply: Reply) -> None:
    assert after_an_answer(reply) == [RetryableError]


def test_a_refusal_of_no_known_kind_is_the_one_row_s() -> None:
    with a_dialect_server(an_error(400, "I do not feel like it")) as server:
        results = outcomes(server.base_url, [a_request()] * 2)
    assert [type(result) for result in results] == [RequestRejected] * 2
    assert "I do not feel like it" in str(results[0])


@pytest.mark.parametrize(
    "reply",
    [
        an_error(
            403, "Your chosen model requires moderation and your input was flagged"
        ),
        an_error(400, "The response was filtered", "content_filter"),
        an_error(
            400,
            "The prompt triggered our policy",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        an_error(400, "Azure OpenAI's content management policy"),
        an_error(400, "Your request was rejected by our safety system."),
        an_error(400, "Input data may contain inappropriate content."),
        Reply({"error": {"message": "flagged by moderation", "code": 403}}),
        an_error(451, "no"),
    ],
)
def test_a_moderated_prompt_fails_its_row_alone(reply: Reply) -> None:
    assert row_failure(reply)[0] is FailureReason.MODERATED


@pytest.mark.parametrize(
    "reply",
    [
        an_error(400, "This model's maximum context length is 1024 tokens."),
        an_error(400, "too long", "context_length_exceeded"),
        an_error(
            400,
            "the request exceeds the available context size, try increasing it",
            400,
            type="exceed_context_size_error",
        ),
        an_error(
            400,
            "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum "
            "context length is 8192 tokens and your request has 5000 input tokens",
        ),
        an_error(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        an_error(413, "Payload too large"),
        an_error(
            429,
            "Request too large for m on tokens per min (TPM): Limit 6000, Requested 7000",
        ),
        Reply({"error": {"message": "maximum context length", "code": 400}}),
    ],
)
def test_a_prompt_too_long_for_the_context_fails_its_row_alone(reply: Reply) -> None:
    assert row_failure(reply)[0] is FailureReason.CONTEXT_OVERFLOW


@pytest.mark.parametrize("status", [408, 409, 425])
def test_what_may_pass_is_retried(status: int) -> None:
    outcome = outcome_of(Reply("hm", status))
    assert isinstance(outcome, RetryableError)
    assert str(outcome) == f"HTTP {status}: hm"
    assert outcome.kind is ErrorKind.BAD_ANSWER


@pytest.mark.parametrize(
    "reply",
    [
        Reply("oops", 500),
        Reply("<html><title>502 Bad Gateway</title>", 502),
        Reply({"error": {"message": "Service Unavailable"}}, 503),
        Reply("", 504),
        Reply({"error": {"message": "upstream died", "code": 502}}),
        Reply({"error": {"message": "oops", "type": "server_error"}}),
    ],
)
def test_a_server_that_fails_is_unavailable(reply: Reply) -> None:
    outcome = outcome_of(reply)
    assert isinstance(outcome, RetryableError)
    assert outcome.kind is ErrorKind.UNAVAILABLE


def test_an_error_of_no_kind_is_retried_in_the_server_s_words() -> None:
    for body in (
        {"error": "computer says no"},
        {"error": {"message": "computer says no"}},
    ):
        outcome = outcome_of(Reply(body))
        assert isinstance(outcome, RetryableError)
        assert "computer says no" in str(outcome)
        assert outcome.kind is ErrorKind.BAD_ANSWER


def test_what_a_gateway_s_provider_said_is_shown() -> None:
    raw = json.dumps({"error": "the provider's own words"})
    reply = an_error(400, "Provider returned error", metadata={"raw": raw})
    assert "Provider returned error: " in row_failure(reply)[1]
    assert "the provider's own words" in row_failure(reply)[1]


def test_the_words_of_a_prompt_do_not_decide_what_an_error_means() -> None:
    flagged = "What is an insufficient_quota, and who pays for it?"
    reply = an_error(
        403,
        "Your input was flagged",
        metadata={"reasons": ["illicit"], "flagged_input": flagged},
    )
    assert row_failure(reply)[0] is FailureReason.MODERATED


def test_a_sign_in_page_stops_the_run_and_later_is_an_outage() -> None:
    page = Reply("<!doctype html><html><title>Sign in</title>", headers={})
    assert "an HTML page ('Sign in') came where a completion should" in stop(page)
    assert after_an_answer(page) == [RetryableError]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_names_its_host(status: int) -> None:
    reply = Reply("", status, {"Location": "https://me:pw@llm.example/v1/x?token=t"})
    message = stop(reply)
    assert "the server redirects to llm.example, which is not followed" in message
    assert "pw" not in message


def test_a_reply_without_end_is_not_read() -> None:
    outcome = outcome_of(Reply(b" " * (32 * 2**20 + 1)))
    assert isinstance(outcome, RetryableError)
    assert "larger than 32 MiB" in str(outcome)


def test_a_server_that_is_asked_for_its_models_says_what_is_wrong() -> None:
    reply = Reply({"detail": "Not Found"}, 404)
    assert "base_url should end with /v1" in models_error(reply)
    assert "no key is sent" in models_error(Reply({"error": "who?"}, 401))
    assert "not a list of models" in models_error(Reply("<html>"))


def models_error(reply: Reply) -> str:
    async def ask(base_url: str) -> None:
        engine = an_engine(base_url)
        try:
            await engine.models()
        finally:
            await engine.close()

    with (
        a_dialect_server(reply, models=reply) as server,
        pytest.raises(SetupError) as raised,
    ):
        asyncio.run(ask(server.root))
    return str(raised.value)
