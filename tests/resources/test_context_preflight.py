from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.context_preflight import (
    ContextFinding,
    context_findings,
    known_lengths,
    require_context,
    with_known_lengths,
)
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from tests.engines.test_server_facts import a_server, models
from tests.serving import a_free_port


@contextmanager
def a_server_that_holds(tokens: int | None, model: str = "m") -> Iterator[str]:
    with a_server(models({"id": model, "max_model_len": tokens})) as base_url:
        yield base_url


def settings_of(base_url: str, **changes: Any) -> Settings:
    values = {
        "engine": "endpoint",
        "endpoint": {"base_url": base_url, "model": "m"},
    }
    return Settings.model_validate(values | changes)


def findings_of(settings: Settings, *stages: str) -> list[ContextFinding]:
    engine = make_engine(settings)
    context = make_dialogue_context(take_snapshot(settings), engine)
    return context_findings(settings, context, engine, stages or None)


def test_the_defaults_pass_on_a_server_of_8192_tokens() -> None:
    with a_server_that_holds(8192) as url:
        settings = settings_of(url)
        findings = findings_of(settings)
    warnings = require_context(findings, settings)
    assert {finding.length for finding in findings} == {8192}
    *long_rows, full_answers = warnings
    assert all("A row of unusual length would not fit: " in line for line in long_rows)
    assert "more tokens than the context holds beside the prompt: refiner" in (
        full_answers
    )


def test_a_large_server_leaves_nothing_to_say() -> None:
    with a_server_that_holds(32768) as url:
        settings = settings_of(url)
        assert require_context(findings_of(settings), settings) == []


def test_bounds_that_max_tokens_would_cut_are_named_with_what_to_set() -> None:
    with a_server_that_holds(32768) as url:
        settings = settings_of(url, sampling={"max_tokens": 4096})
        (line,) = require_context(findings_of(settings), settings)
        findings = {f.request.speaker: f for f in findings_of(settings)}
    largest = findings["refiner"].full.answer_tokens
    # What the other roles may write is less than that.
    assert f"max_tokens: refiner {largest:,} of 4,096. " in line
    assert f"set sampling.max_tokens = {largest}" in line
    raised = settings_of(url, sampling={"max_tokens": largest})
    assert all(
        finding.full.answer_tokens <= (raised.sampling.max_tokens or 0)
        for finding in findings.values()
    )


def test_a_role_is_held_against_its_own_max_tokens() -> None:
    with a_server_that_holds(32768) as url:
        roles = {"initializer": {"sampling": {"max_tokens": 1000}}}
        settings = settings_of(url, roles=roles)
        (line,) = require_context(findings_of(settings), settings)
    assert "max_tokens: initializer " in line
    assert "refiner" not in line


def test_a_server_that_takes_no_limit_cuts_at_none() -> None:
    with a_server_that_holds(32768) as url:
        endpoint = {"base_url": url, "model": "m", "omit": ["max_tokens"]}
        settings = settings_of(url, endpoint=endpoint, sampling={"max_tokens": 10})
        assert require_context(findings_of(settings), settings) == []


def test_a_chat_that_would_not_fit_is_named_with_role_round_and_what_to_change() -> (
    None
):
    with a_server_that_holds(8192) as url:
        settings = settings_of(url, deliberation={"context": "chat"})
        findings = findings_of(settings)
    with pytest.raises(SetupError) as stopped:
        require_context(findings, settings)
    message = str(stopped.value)
    assert "deliberator_2, round 3: about " in message
    assert "the server 'endpoint' holds 8,192" in message
    assert 'deliberation.context = "fresh"' in message
    assert "initializer" not in message


def test_policies_that_fill_a_context_are_counted_and_the_longest_are_named(
    tmp_path: Path,
) -> None:
    for number in range(1_000):
        write_policy(tmp_path, f"short_{number}", "Do no harm with it.")
    write_policy(tmp_path, "the_long_one", "It is a long rule. " * 5_000)
    with a_server_that_holds(32768) as url:
        settings = settings_of(url, policies=tmp_path)
        engine = make_engine(settings)
        context = make_dialogue_context(take_snapshot(settings), engine)
        findings = context_findings(settings, context, engine, None)
    with pytest.raises(SetupError) as stopped:
        require_context(findings, settings, context)
    message = str(stopped.value)
    assert "The text of the 1,001 policies alone is about " in message
    assert "the longest: the_long_one 23,7" in message
    assert "fewer policies (use_policies)" in message
    assert "max_rounds" not in message


def write_policy(folder: Path, policy_id: str, rule: str) -> None:
    lines = [f'id = "{policy_id}"', 'title = "T"', 'purpose = "P."', "[rules]"]
    (folder / f"{policy_id}.toml").write_text(
        "\n".join([*lines, f'1 = "{rule.strip()}"'])
    )


def test_what_another_stage_needs_does_not_stop_this_one() -> None:
    with a_server_that_holds(5000) as url:
        settings = settings_of(url)
        findings = findings_of(settings, Stage.SEED_COTS)
    assert {f.request.speaker for f in findings} == {"intent_decomposer", "initializer"}
    require_context(findings, settings)


def test_a_role_is_held_against_its_own_server() -> None:
    with a_server_that_holds(32768) as url, a_server_that_holds(2048, "r") as other:
        settings = settings_of(
            url,
            servers={"small": {"base_url": other, "model": "r"}},
            roles={
                "refiner": {"server": "small"},
                "deliberator_2": {"base_url": other, "model": "r"},
            },
        )
        findings = findings_of(settings)
    too_long = {f.request.speaker: f.server for f in findings if f.fits is False}
    assert too_long == {"refiner": "small", "deliberator_2": other}
    assert known_lengths(findings) == {"endpoint": 32768, "small": 2048, other: 2048}


def test_a_server_that_does_not_tell_is_mentioned_once() -> None:
    settings = settings_of(f"http://127.0.0.1:{a_free_port()}/v1")
    findings = findings_of(settings)
    (line,) = require_context(findings, settings)
    assert "'endpoint' does not tell its context length" in line
    assert {finding.fits for finding in findings} == {None}


def test_the_managed_server_is_not_asked_where_the_settings_say_its_length() -> None:
    vllm = {"model": "/models/m", "max_model_len": 4096}
    settings = Settings.model_validate({"engine": "vllm", "vllm": vllm})
    findings = findings_of(settings)
    assert {(f.server, f.length) for f in findings} == {("vllm", 4096)}


def test_a_rehearsal_has_no_context_to_exceed() -> None:
    assert findings_of(Settings()) == []


def test_of_a_rehearsal_with_a_real_judge_only_the_judge_is_looked_at() -> None:
    with a_server_that_holds(8192) as url:
        roles = {"judge": {"base_url": url, "model": "m"}}
        findings = findings_of(Settings.model_validate({"roles": roles}))
    assert {f.request.speaker for f in findings} == {"judge"}


def test_reasoning_takes_its_budget_of_the_context() -> None:
    with a_server_that_holds(8192) as url:
        endpoint = {"base_url": url, "model": "m", "reasoning_budget": 4000}
        thinking = settings_of(url, endpoint=endpoint)
        silent = settings_of(url, endpoint=endpoint | {"reasoning": "off"})
        longest = [
            max(f.request.tokens for f in findings_of(settings))
            for settings in (thinking, silent)
        ]
    assert longest[0] == longest[1] + 4000


def test_what_a_server_tells_is_known_to_the_engine_unless_it_is_set() -> None:
    settings = settings_of(
        "http://127.0.0.1:1/v1",
        servers={"set": {"context_length": 1000}, "unset": {}, "unknown": {}},
    )
    lengths = {"endpoint": 8192, "set": 2000, "unset": 3000}
    known = with_known_lengths(settings, lengths)
    assert known.endpoint.context_length == 8192
    by_name = {name: server.context_length for name, server in known.servers.items()}
    assert by_name == {"set": 1000, "unset": 3000, "unknown": None}
