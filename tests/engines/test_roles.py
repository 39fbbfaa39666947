import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.roles import EngineByRole, RoleSettings
from aidsafe_dagster.engines.vllm.engine import VLLMEngine
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from tests.engines.dialects import DialectServer, a_dialect_server, a_reply
from tests.engines.test_journal import a_request


def settings_for(base_url: str, **roles: RoleSettings) -> Settings:
    endpoint = {"base_url": base_url, "model": "main-model", "api_key_env": "MAIN_KEY"}
    return Settings.model_validate(
        {"engine": "endpoint", "endpoint": endpoint, "roles": roles}
    )


def settings_with_servers(
    base_url: str, endpoint: Mapping[str, Any] | None = None, **tables: Any
) -> Settings:
    main = {"base_url": base_url, "model": "main-model", "api_key_env": "MAIN_KEY"}
    main |= dict(endpoint or {})
    return Settings.model_validate({"engine": "endpoint", "endpoint": main, **tables})


def complete(settings: Settings, role: Role) -> Completion:
    async def ask() -> Completion:
        engine = make_engine(settings)
        try:
            return await engine.complete(a_request(role=role), 0)
        finally:
            await engine.close()

    return asyncio.run(ask())


def keys_and_models(server: DialectServer) -> list[tuple[str, str]]:
    return [
        (chat.headers["Authorization"], chat.body["model"]) for chat in server.chats
    ]


def test_a_role_can_have_another_model_of_the_same_server() -> None:
    with a_dialect_server(a_reply()) as server:
        settings = settings_for(
            server.base_url, refiner=RoleSettings(model="big-model")
        )
        complete(settings, Role.REFINER)
        complete(settings, Role.DELIBERATOR)
    assert [chat.body["model"] for chat in server.chats] == ["big-model", "main-model"]


def test_a_role_can_have_its_own_server_and_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAIN_KEY", "main")
    monkeypatch.setenv("TARGET_KEY", "own")
    with a_dialect_server(a_reply()) as main, a_dialect_server(a_reply()) as own:
        target = RoleSettings(
            base_url=own.base_url, model="target-model", api_key_env="TARGET_KEY"
        )
        settings = settings_for(main.base_url, target=target)
        complete(settings, Role.TARGET)
        complete(settings, Role.INITIALIZER)
    assert keys_and_models(own) == [("Bearer own", "target-model")]
    assert keys_and_models(main) == [("Bearer main", "main-model")]


def test_each_role_has_its_own_model_in_the_journal_s_key() -> None:
    engine = make_engine(
        settings_for("http://127.0.0.1:1/v1", refiner=RoleSettings(model="big-model"))
    )
    assert isinstance(engine, EndpointEngine)
    assert (engine.route(Role.REFINER).model, engine.route(Role.TARGET).model) == (
        "big-model",
        "main-model",
    )


def test_the_slots_of_several_servers_add_up() -> None:
    target = RoleSettings(base_url="http://127.0.0.1:2/v1", model="t")
    engine = make_engine(settings_for("http://127.0.0.1:1/v1", target=target))
    assert isinstance(engine, EngineByRole)
    assert engine.slots == 128


def test_an_adapter_of_the_managed_server_can_be_a_role_s_model() -> None:
    vllm = {
        "model": "base",
        "revision": "v1",
        "lora_adapters": {"careful": "adapters/careful"},
    }
    settings = Settings.model_validate(
        {"engine": "vllm", "vllm": vllm, "roles": {"refiner": {"model": "careful"}}}
    )
    engine = make_engine(settings)
    assert isinstance(engine, VLLMEngine)
    assert (engine.route(Role.REFINER).model, engine.route(Role.TARGET).model) == (
        "careful@v1",
        "base@v1",
    )
    assert settings.vllm.arguments()[-20:].count("careful=adapters/careful") == 1


def complete_as(settings: Settings, agent: str) -> Completion:
    async def ask() -> Completion:
        engine = make_engine(settings)
        request = a_request(role=Role.DELIBERATOR, agent=agent)
        try:
            return await engine.complete(request, 0)
        finally:
            await engine.close()

    return asyncio.run(ask())


def test_two_agents_can_have_different_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAIN_KEY", "main")
    monkeypatch.setenv("A_KEY", "of-a")
    with (
        a_dialect_server(a_reply()) as main,
        a_dialect_server(a_reply()) as a,
        a_dialect_server(a_reply()) as b,
    ):
        settings = settings_with_servers(
            main.base_url,
            servers={
                "a": {"base_url": a.base_url, "model": "a", "api_key_env": "A_KEY"},
                "b": {"base_url": b.base_url, "model": "b"},
            },
            roles={"deliberator_1": {"server": "a"}, "deliberator_2": {"server": "b"}},
        )
        for agent in ("deliberator_1", "deliberator_2", "deliberator_3"):
            complete_as(settings, agent)
    assert keys_and_models(a) == [("Bearer of-a", "a")]
    assert keys_and_models(main) == [("Bearer main", "main-model")]
    assert [chat.body["model"] for chat in b.chats] == ["b"]
    assert "Authorization" not in b.chats[0].headers


def test_a_role_s_own_server_inherits_nothing_of_the_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAIN_KEY", "main")
    monkeypatch.setenv("AIDSAFE_API_KEY", "default")
    endpoint = {
        "timeout_s": 1.5,
        "slots": 3,
        "extra_body": {"top_k": 7},
        "omit": ["seed"],
        "rename": {"max_tokens": "limit"},
        "revision": "v2",
        "requests_per_minute": 5,
        "priority": True,
        "sampling": {"temperature": 0.1},
    }
    with a_dialect_server(a_reply()) as main, a_dialect_server(a_reply()) as own:
        settings = settings_with_servers(
            main.base_url,
            endpoint=endpoint,
            servers={"judge": {"base_url": own.base_url, "model": "j"}},
            roles={"judge": {"server": "judge"}},
        )
        complete(settings, Role.JUDGE)
        engine = make_engine(settings)
    route = engine.route(Role.JUDGE)
    assert (route.server, route.model, route.slots) == ("judge", "j", 64)
    assert (route.options, route.requests_per_minute) == ("", None)
    assert "Authorization" not in own.chats[0].headers
    assert not {"top_k", "limit", "priority"} & set(own.body)
    assert {"seed", "max_tokens"} <= set(own.body)
    context = make_dialogue_context(take_snapshot(settings), engine)
    assert context.sampling_by_speaker[Role.JUDGE] == settings.sampling
    assert context.sampling.temperature == 0.1


def test_a_role_at_an_address_of_its_own_is_sent_no_key_unless_it_names_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAIN_KEY", "main")
    monkeypatch.setenv("AIDSAFE_API_KEY", "default")
    with a_dialect_server(a_reply()) as own:
        target = RoleSettings(base_url=own.base_url, model="t")
        complete(settings_for("http://127.0.0.1:1/v1", target=target), Role.TARGET)
    assert "Authorization" not in own.chats[0].headers


def test_an_agent_takes_from_its_role_what_it_does_not_say_itself() -> None:
    server = {"base_url": "http://127.0.0.1:2/v1", "model": "s"}
    roles = {
        "deliberator": {"server": "d", "extra_body": {"top_k": 1}, "reasoning": "off"},
        "deliberator_2": {"model": "other", "extra_body": {"min_p": 0.1}},
        "deliberator_3": {"base_url": "http://127.0.0.1:3/v1", "model": "third"},
    }
    settings = settings_with_servers(
        "http://127.0.0.1:1/v1", servers={"d": server}, roles=roles
    )
    engine = make_engine(settings)
    routes = [engine.route(f"deliberator_{number}") for number in (1, 2, 3)]
    servers_and_models = [(route.server, route.model) for route in routes]
    assert servers_and_models == [
        ("d", "s"),
        ("d", "other"),
        ("http://127.0.0.1:3/v1", "third"),
    ]
    assert json.loads(routes[1].options)["extra_body"] == {"top_k": 1, "min_p": 0.1}
    # A server of its own: nothing of the role's.
    assert routes[2].options == ""


def test_a_sampling_table_of_a_role_replaces_the_general_one() -> None:
    settings = settings_with_servers(
        "http://127.0.0.1:1/v1", roles={"judge": {"sampling": {"temperature": 0}}}
    )
    context = make_dialogue_context(take_snapshot(settings), make_engine(settings))
    sent = context.sampling_by_speaker[Role.JUDGE].model_dump(exclude_none=True)
    assert sent == {"temperature": 0}


def test_a_server_or_role_that_does_not_exist_names_the_nearest() -> None:
    for roles, place, nearest in (
        ({"judge": {"server": "jugde"}}, "roles.judge.server", "judge"),
        ({"refinr": {"model": "m"}}, "[roles]", "refiner"),
        ({"deliberatr_2": {"model": "m"}}, "[roles]", "deliberator"),
    ):
        with pytest.raises(SetupError) as raised:
            settings_with_servers(
                "http://127.0.0.1:1/v1",
                servers={"judge": {"base_url": "http://127.0.0.1:2/v1", "model": "j"}},
                roles=roles,
            )
        assert place in str(raised.value)
        assert f"Did you mean '{nearest}" in str(raised.value)
