"""The trial of a server against servers of many dialects, over real HTTP."""

import asyncio
from typing import Any

import pytest

from aidsafe_dagster.engines.server_dialect import KEYWORDS, SCHEMA
from aidsafe_dagster.engines.server_trial import try_server
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.trial_requests import Outcome, Trial
from aidsafe_dagster.recipe import answers
from aidsafe_dagster.recipe.answers import Answer, AnswerFormat
from aidsafe_dagster.recipe.dialogue import Sampling
from tests.dialect_server import Dialect, DialectServer, a_dialect_server

KEY = "sk-do-not-show-0123456789"
DEFAULT = ServerSettings()


def settings_for(server: DialectServer, **more: Any) -> ServerSettings:
    return ServerSettings(base_url=server.base_url, model="m", **more)


def tried(
    server: DialectServer, settings: ServerSettings | None = None, **options: Any
) -> Trial:
    settings = settings or settings_for(server)
    return asyncio.run(try_server(settings, Sampling(), **options))


def changes(trial: Trial, before: ServerSettings) -> dict[str, Any]:
    """Return the settings that the trial changed."""
    after = trial.settings.model_dump()
    return {
        name: after[name]
        for name, value in before.model_dump().items()
        if after[name] != value
    }


def details(trial: Trial, what: str) -> str:
    """Return what was noted of one thing, with its outcome."""
    noted = [one for one in trial.observations if one.what == what]
    return "; ".join(f"{one.outcome}: {one.detail}" for one in noted)


def test_a_server_that_takes_everything_needs_no_change_and_few_requests() -> None:
    with a_dialect_server() as server:
        trial = tried(server)
    assert changes(trial, settings_for(server)) == {}
    assert not trial.has(Outcome.BROKEN)
    assert details(trial, "JSON schema").startswith("good: enforced")
    assert details(trial, "cached tokens") == "good: 16 of 20 when a prompt is repeated"
    assert len(server.chats) <= 8


@pytest.mark.parametrize("says_why", [True, False], ids=["named", "unnamed"])
def test_a_server_that_looks_for_no_repetitions_is_streamed_from(
    says_why: bool,
) -> None:
    dialect = Dialect(refused=("repetition_detection",), says_why=says_why)
    with a_dialect_server(dialect) as server:
        before = settings_for(server, end_loops="server")
        trial = tried(server, before)
    assert changes(trial, before) == {"end_loops": "auto"}


@pytest.mark.parametrize("says_why", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("refusal", [400, 422, 500])
@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ({"refused": ("seed",)}, {"omit": ("seed",)}),
        ({"refused": ("temperature", "top_p")}, {"omit": ("temperature", "top_p")}),
        ({"takes_temperature_beside_top_p": False}, {"omit": ("top_p",)}),
        (
            {"limit": "max_completion_tokens"},
            {"rename": {"max_tokens": "max_completion_tokens"}},
        ),
        ({"system": False}, {"system": "user"}),
        (
            {"system": False, "refused": ("seed",), "limit": "max_completion_tokens"},
            {
                "system": "user",
                "omit": ("seed",),
                "rename": {"max_tokens": "max_completion_tokens"},
            },
        ),
        ({"refused_keywords": ("maxLength",)}, {"schema_omit": ("maxLength",)}),
        (
            {"refused_keywords": ("minItems", "maximum")},
            {"schema_omit": ("minItems", "maximum")},
        ),
        (
            {"takes_strict": False},
            {"omit": ("response_format.json_schema.strict",)},
        ),
        ({"schema": "refused"}, {"output": "json"}),
        ({"schema": "ignored"}, {"output": "json"}),
        ({"schema": "refused", "json_mode": "refused"}, {"output": "text"}),
        ({"schema": "ignored", "json_mode": "ignored"}, {"output": "text"}),
    ],
    ids=str,
)
def test_what_a_server_refuses_is_found_and_a_second_trial_changes_nothing(
    dialect: dict[str, Any], expected: dict[str, Any], refusal: int, says_why: bool
) -> None:
    with a_dialect_server(**dialect, refusal=refusal, says_why=says_why) as server:
        before = settings_for(server)
        trial = tried(server)
        mends = changes(trial, before)
        again = tried(server, trial.settings)
    for name in ("omit", "schema_omit"):
        assert set(mends.pop(name, ())) == set(expected.get(name, ())), mends
    rest = {
        key: value
        for key, value in expected.items()
        if key not in ("omit", "schema_omit")
    }
    assert mends == rest
    assert changes(again, trial.settings) == {}
    assert not again.has(Outcome.MENDED)
    assert not again.has(Outcome.BROKEN)


def test_a_limit_that_a_profile_renames_wrongly_gets_its_name_back() -> None:
    with a_dialect_server(limit="max_tokens") as server:
        renamed = {"max_tokens": "max_completion_tokens"}
        trial = tried(server, settings_for(server, rename=renamed))
    assert trial.settings.rename == {"max_tokens": "max_tokens"}


@pytest.mark.parametrize(
    ("dialect", "place"),
    [
        ({"reasoning": "block"}, "in the answer, as a block <think>"),
        ({"reasoning": "closing tag"}, "ended by </think> without an opening tag"),
        ({"reasoning": "field"}, "in the field reasoning_content"),
        (
            {"reasoning": "field", "reasoning_field": "reasoning"},
            "in the field reasoning",
        ),
        ({"reasoning": "counted"}, "counted (64 tokens) and not shown"),
    ],
    ids=str,
)
def test_the_place_of_the_reasoning_is_told(
    dialect: dict[str, Any], place: str
) -> None:
    with a_dialect_server(**dialect) as server:
        trial = tried(server)
    assert place in details(trial, "reasoning")
    assert "nothing that was tried" in details(trial, "reasoning off")
    assert details(trial, "JSON schema").startswith("good")


def test_what_switches_reasoning_off_is_found_once() -> None:
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    with a_dialect_server(reasoning="block", reasoning_off=off) as server:
        trial = tried(server)
        again = tried(server, trial.settings)
    assert trial.settings.reasoning_off == off
    assert not trial.has(Outcome.MENDED)
    assert "enable_thinking = false" in details(trial, "reasoning off")
    assert again.settings == trial.settings


def test_the_switch_of_a_profile_is_tried_first() -> None:
    off = {"think": False}
    with a_dialect_server(reasoning="block", reasoning_off=off) as server:
        trial = tried(server, settings_for(server, reasoning_off=off))
    assert details(trial, "reasoning off") == "good: switched off by think = false"
    assert trial.settings.reasoning_off == off


def test_a_budget_of_reasoning_is_sent_as_the_engine_sends_it() -> None:
    with a_dialect_server() as server:
        reasons = settings_for(
            server,
            reasoning_budget=2000,
            reasoning_budget_field="thinking.budget_tokens",
            reasoning_on={"thinking": {"type": "enabled"}},
            omit=("response_format.json_schema.strict",),
        )
        tried(server, reasons)
    first = server.chats[0]
    assert first["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert first["max_tokens"] > 2000
    schemas = [
        body["response_format"] for body in server.chats if "response_format" in body
    ]
    assert "strict" not in schemas[0]["json_schema"]


def test_log_probabilities_are_tried_for_a_guard_alone() -> None:
    with a_dialect_server() as server:
        assert details(tried(server), "log-probabilities") == ""
        guard = tried(server, guards=True)
    assert details(guard, "log-probabilities") == "good: of the first token"


def test_a_guard_does_without_log_probabilities_that_are_refused() -> None:
    with a_dialect_server(refused=("logprobs",)) as server:
        trial = tried(server, guards=True)
        again = tried(server, trial.settings, guards=True)
    assert trial.settings.omit == ("logprobs", "top_logprobs")
    assert again.settings == trial.settings
    assert not again.has(Outcome.MENDED)


def test_a_server_like_vllm_is_recognised() -> None:
    with a_dialect_server(
        tokenize="vLLM", metrics="vllm:", context_in_list=8192
    ) as server:
        trial = tried(server)
    assert details(trial, "/tokenize") == "good: counts, in vLLM's dialect"
    assert details(trial, "metrics") == "good: vllm:*"
    assert details(trial, "context length") == "good: 8,192 tokens"


def test_a_server_like_llama_cpp_is_recognised() -> None:
    with a_dialect_server(
        tokenize="llama.cpp",
        metrics="llamacpp:",
        context_in_list=131072,
        context_in_props=4096,
    ) as server:
        trial = tried(server, settings_for(server, context_length=32768))
    assert details(trial, "/tokenize") == "good: counts, in llama.cpp's dialect"
    assert details(trial, "metrics") == "good: llamacpp:*"
    assert trial.settings.context_length == 4096


def test_counting_is_switched_off_where_the_server_does_not_count() -> None:
    with a_dialect_server() as server:
        trial = tried(server, settings_for(server, tokenize=True))
    assert trial.settings.tokenize is False


def test_headers_of_rate_limits_are_shown() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "7",
    }
    with a_dialect_server(headers=headers) as server:
        trial = tried(server)
    shown = details(trial, "rate limits")
    assert shown == "good: x-ratelimit-limit-requests: 60"


def test_a_server_that_counts_no_tokens_is_no_failure() -> None:
    with a_dialect_server(counts=False) as server:
        trial = tried(server)
    assert details(trial, "usage").startswith("absent: no tokens are counted")
    assert changes(trial, settings_for(server)) == {}


def test_a_busy_server_is_waited_for() -> None:
    with a_dialect_server(busy_calls=3) as server:
        trial = tried(server)
    assert not trial.has(Outcome.BROKEN)
    assert details(trial, "chat") == "good: 'm' answers"


def test_a_server_that_is_busy_for_long_is_left_with_the_time_it_named() -> None:
    with a_dialect_server(busy_calls=100, retry_after="3600") as server:
        trial = tried(server)
    assert "busy: HTTP 429: slow down; try again after" in details(trial, "stopped")
    assert len(server.chats) == 1


def test_a_server_without_credit_is_left_at_once_whenever_it_ends() -> None:
    with a_dialect_server(credit=3) as server:
        trial = tried(server)
    assert details(trial, "stopped") == "broken: HTTP 402: Insufficient credits"
    assert len(server.chats) == 4


def test_empty_answers_change_nothing() -> None:
    with a_dialect_server(is_filtered=True) as server:
        trial = tried(server)
    assert changes(trial, settings_for(server)) == {}
    assert "the answer is empty" in details(trial, "JSON schema")


def test_a_schema_that_is_followed_among_other_words_is_kept() -> None:
    with a_dialect_server(schema="followed") as server:
        trial = tried(server)
    assert changes(trial, settings_for(server)) == {}
    assert details(trial, "JSON schema").startswith("good: followed")


def test_a_wrong_key_ends_the_trial_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with a_dialect_server(key="another") as server:
        trial = tried(server, settings_for(server, api_key_env="MY_KEY"))
    stopped = details(trial, "stopped")
    assert "HTTP 401: Incorrect API key provided: the key in MY_KEY is wrong" in stopped
    assert KEY not in str(trial)
    assert server.chats == []
    assert len(trial.observations) == 1


def test_a_key_is_sent_without_the_white_space_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    with a_dialect_server(key=KEY) as server:
        trial = tried(server, settings_for(server, api_key_env="MY_KEY"))
    assert not trial.has(Outcome.BROKEN)


def test_a_key_of_two_lines_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\n{KEY}")
    with a_dialect_server() as server:
        trial = tried(server, settings_for(server, api_key_env="MY_KEY"))
    assert "MY_KEY: the key holds white space" in details(trial, "stopped")
    assert KEY not in str(trial)


def test_a_refusal_that_no_setting_mends_is_told_in_the_server_s_words() -> None:
    with a_dialect_server(refused=("messages",)) as server:
        trial = tried(server)
    assert "broken: refused: HTTP 400: Unsupported parameter" in details(trial, "chat")
    assert changes(trial, settings_for(server)) == {}


def test_the_schema_of_the_trial_has_every_keyword_of_our_answers() -> None:
    used: set[str] = set()
    for model in vars(answers).values():
        if (
            isinstance(model, type)
            and issubclass(model, Answer)
            and model is not Answer
        ):
            used |= keywords(_schema(model))
    assert used == keywords(SCHEMA)
    assert set(KEYWORDS) <= used


def _schema(model: type[Answer]) -> Any:
    ids = ("a.1", "a.2")
    kinds = ("rules", "policies", "rules or none", "letters")
    counts = {"thoughts": 3, "agents": 2}
    return AnswerFormat(model, dict.fromkeys(kinds, ids), counts).schema


def keywords(schema: Any) -> set[str]:
    """Return the keywords in a schema; names of properties and definitions are none."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema))
    if not isinstance(schema, dict):
        return set()
    used = set(schema)
    for name, value in schema.items():
        named = name in ("properties", "$defs")
        below = list(value.values()) if named else value
        used |= keywords(below)
    return used
