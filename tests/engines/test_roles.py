import asyncio

import pytest

from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.roles import EngineByRole, RoleSettings
from aidsafe_dagster.engines.vllm.engine import VLLMEngine
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.resources.engine import make_engine
from aidsafe_dagster.settings.schema import Settings
from tests.engines.test_endpoint import ReceivedRequests, a_reply, a_server
from tests.engines.test_journal import a_request


def settings_for(base_url: str, **roles: RoleSettings) -> Settings:
    endpoint = {"base_url": base_url, "model": "main-model", "api_key_env": "MAIN_KEY"}
    return Settings.model_validate(
        {"engine": "endpoint", "endpoint": endpoint, "roles": roles}
    )


def complete(settings: Settings, role: Role) -> Completion:
    async def ask() -> Completion:
        engine = make_engine(settings)
        try:
            return await engine.complete(a_request(role=role), 0)
        finally:
            await engine.close()

    return asyncio.run(ask())


def keys_and_models(requests: ReceivedRequests) -> list[tuple[str, str]]:
    return [(headers["Authorization"], body["model"]) for headers, body in requests]


def test_a_role_can_have_another_model_of_the_same_server() -> None:
    with a_server(body=a_reply()) as server:
        settings = settings_for(
            server.base_url, refiner=RoleSettings(model="big-model")
        )
        complete(settings, Role.REFINER)
        complete(settings, Role.DELIBERATOR)
    assert [body["model"] for _, body in server] == ["big-model", "main-model"]


def test_a_role_can_have_its_own_server_and_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAIN_KEY", "main")
    monkeypatch.setenv("TARGET_KEY", "own")
    with a_server(body=a_reply()) as main, a_server(body=a_reply()) as own:
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
