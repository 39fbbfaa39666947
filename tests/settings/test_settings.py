import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.cli.doctor import values_in_force
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import Loaded, load_settings
from aidsafe_dagster.settings.schema import PACKAGE

KEY = "sk-do-not-show"


def load(
    folder: Path,
    toml: str = "",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    (folder / "aidsafe.toml").write_text(toml)
    return load_settings(folder, environ or {}, overrides)


def error_message(
    folder: Path,
    toml: str = "",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> str:
    with pytest.raises(SetupError) as raised:
        load(folder, toml, environ, overrides)
    return str(raised.value)


def test_without_a_file_every_value_is_a_default(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path, {"PATH": "/bin", "SEED": "4"})
    assert (loaded.settings.engine, loaded.settings.seed, loaded.origins) == (
        "rehearsal",
        0,
        {},
    )


def test_each_layer_wins_over_the_one_before_and_says_so(tmp_path: Path) -> None:
    file, environ = (
        "seed = 1\n[endpoint]\nmodel = 'file'\n",
        {"AIDSAFE_SEED": "2", "AIDSAFE_ENDPOINT__MODEL": "env"},
    )
    overrides = {"endpoint": {"model": "launchpad"}}
    origin = str(tmp_path / "aidsafe.toml")
    for layers, seed, model, origins in (
        ((file,), 1, "file", [origin, origin]),
        ((file, environ), 2, "env", ["environment", "environment"]),
        ((file, environ, overrides), 2, "launchpad", ["environment", "launchpad"]),
    ):
        loaded = load(tmp_path, *layers)
        assert (loaded.settings.seed, loaded.settings.endpoint.model) == (seed, model)
        assert [loaded.origins["seed"], loaded.origins["endpoint.model"]] == origins


def test_a_layer_changes_only_what_it_names(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, "[driver]\nbackoff_s = 3\n", {"AIDSAFE_DRIVER__MAX_ATTEMPTS": "2"}
    )
    assert (loaded.settings.driver.backoff_s, loaded.settings.driver.max_attempts) == (
        3,
        2,
    )
    assert (
        loaded.settings.driver.calls_in_flight
        == load_settings(tmp_path / "none", {}).settings.driver.calls_in_flight
    )


def test_two_underscores_go_one_level_down_and_one_is_part_of_a_name(
    tmp_path: Path,
) -> None:
    environ = {
        "AIDSAFE_ENDPOINT__BASE_URL": "http://h/v1",
        "AIDSAFE_ENDPOINT__EXTRA_BODY__TOP_K": "5",
        "AIDSAFE_AUTOMATION__NIGHTLY_INGEST": "true",
    }
    loaded = load(tmp_path, "[endpoint.extra_body]\nmin_p = 0.1\n", environ).settings
    assert loaded.endpoint.base_url == "http://h/v1"
    assert loaded.endpoint.extra_body == {"min_p": 0.1, "top_k": "5"}
    assert loaded.automation.nightly_ingest is True


def test_lists_and_tables_in_the_environment_are_json(tmp_path: Path) -> None:
    sources = [{"name": "mine", "path": "mine.csv", "columns": {"prompt": "question"}}]
    environ = {
        "AIDSAFE_SOURCES": json.dumps(sources),
        "AIDSAFE_ENDPOINT": '{"model": "m", "extra_body": {"n": 1}}',
    }
    loaded = load(tmp_path, "[endpoint]\nbase_url = 'http://h'\n", environ).settings
    assert loaded.sources[0].columns.prompt == "question"
    assert (
        loaded.endpoint.base_url,
        loaded.endpoint.model,
        loaded.endpoint.extra_body,
    ) == (
        "http://h",
        "m",
        {"n": 1},
    )
    message = error_message(tmp_path, "", {"AIDSAFE_SOURCES": '[{"name": "mine"'})
    assert message.startswith("environment: 'sources'")


@pytest.mark.parametrize(
    ("toml", "key", "nearest"),
    [
        ("engin = 'endpoint'", "engin", "engine"),
        ("[endpoint]\nbase_ur = 'http://h'", "endpoint.base_ur", "endpoint.base_url"),
        (
            "[[sources]]\nname = 'a'\npath = 'x.csv'\nlimits = 3",
            "sources.0.limits",
            "sources.0.limit",
        ),
        (
            "[[sources]]\nname = 'a'\npath = 'x.csv'\n[sources.columns]\nprompts = 'q'",
            "sources.0.columns.prompts",
            "sources.0.columns.prompt",
        ),
        ("engine = 'wrong too'\n[splits]\ntets = 0.1", "splits.tets", "splits.test"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one_and_the_file(
    tmp_path: Path, toml: str, key: str, nearest: str
) -> None:
    message = error_message(tmp_path, toml)
    assert message.startswith(
        f"{tmp_path / 'aidsafe.toml'}: unknown key '{key}'. Did you mean '{nearest}'? Valid: "
    )


@pytest.mark.parametrize(
    ("environ", "overrides", "message"),
    [
        (
            {"AIDSAFE_ENGNE": "x"},
            {},
            "environment: unknown key 'engne'. Did you mean 'engine'?",
        ),
        (
            {"AIDSAFE_ENDPOINT___MODEL": "x"},
            {},
            "environment: unknown key 'endpoint._model'",
        ),
        (
            {},
            {"endpoint": {"modl": "x"}},
            "launchpad: unknown key 'endpoint.modl'. Did you mean 'endpoint.model'?",
        ),
        ({}, {"rehearsal.seed": 3}, "launchpad: unknown key 'rehearsal.seed'"),
    ],
)
def test_an_unknown_key_names_the_layer_it_stands_in(
    tmp_path: Path, environ: dict[str, str], overrides: dict[str, Any], message: str
) -> None:
    assert error_message(tmp_path, "seed = 1", environ, overrides).startswith(message)


def test_an_unknown_engine_lists_the_valid_ones(tmp_path: Path) -> None:
    message = error_message(tmp_path, "engine = 'vlm'")
    assert "'engine'" in message
    assert "'rehearsal', 'vllm' or 'endpoint'" in message
    assert "'vlm'" in message


@pytest.mark.parametrize(
    ("toml", "environ", "origin", "place", "got"),
    [
        ("seed = 'many'", {}, "aidsafe.toml", "'seed'", "'many'"),
        ("endpoint = 'http://h'", {}, "aidsafe.toml", "'endpoint'", "'http://h'"),
        ("sources = 'x.csv'", {}, "aidsafe.toml", "'sources'", "'x.csv'"),
        (
            "[splits]\ntest = 0.6\nvalidation = 0.6",
            {},
            "aidsafe.toml",
            "'splits'",
            "below 1",
        ),
        (
            "[[sources]]\nname = 'a'\npath = 'x'\nhub = 'o/d'",
            {},
            "aidsafe.toml",
            "'sources.0'",
            "not both",
        ),
        ("seed = 1", {"AIDSAFE_SEED": ""}, "environment", "'seed'", "''"),
        (
            "",
            {"AIDSAFE_AUTOMATION__NIGHTLY_INGEST": "maybe"},
            "environment",
            "'automation.nightly_ingest'",
            "'maybe'",
        ),
        ("", {"AIDSAFE_SEED__X": "3"}, "environment", "'seed'", "integer"),
    ],
)
def test_a_value_of_the_wrong_kind_names_origin_place_and_value(
    tmp_path: Path,
    toml: str,
    environ: dict[str, str],
    origin: str,
    place: str,
    got: str,
) -> None:
    message = error_message(tmp_path, toml, environ)
    assert message.partition(": ")[0].endswith(origin)
    assert place in message
    assert got in message


def test_values_that_exclude_each_other_are_told_in_our_own_words(
    tmp_path: Path,
) -> None:
    message = error_message(
        tmp_path, "[rehearsal]\nunparsable = 1.0\nrefusal = 0.5\n", {}
    )
    assert "'rehearsal': the rates of unparsable" in message
    assert "Value error" not in message
    assert message.endswith("  1 | [rehearsal]")


def test_bad_toml_names_file_and_line(tmp_path: Path) -> None:
    message = error_message(tmp_path, "seed = 1\nengine = \n")
    assert str(tmp_path / "aidsafe.toml") in message
    assert "line 2" in message


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "aidsafe.toml").write_bytes("seed = 1".encode("utf-16"))
    with pytest.raises(SetupError, match=r"aidsafe\.toml: not a TOML file in UTF-8"):
        load_settings(tmp_path, {})


def test_another_settings_file_can_be_named_and_then_has_to_be_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "night.toml").write_text("seed = 7\nhome = 'made'\n")
    loaded = load(
        tmp_path,
        "seed = 1",
        {"AIDSAFE_SETTINGS": str(tmp_path / "other" / "night.toml")},
    ).settings
    assert (loaded.seed, loaded.home) == (7, tmp_path / "other" / "made")
    message = error_message(
        tmp_path, "seed = 1", {"AIDSAFE_SETTINGS": str(tmp_path / "gone.toml")}
    )
    assert message == f"{tmp_path / 'gone.toml'}: No such file or directory"


def test_relative_paths_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    toml = "home = 'made'\npolicies = 'rules'\ntokenizer = '../tok'\n"
    toml += "[[sources]]\nname = 'a'\npath = 'in/a.csv'\n"
    loaded = load(tmp_path, toml, {"AIDSAFE_PROMPTS": "/elsewhere"}).settings
    assert (loaded.home, loaded.policies, loaded.tokenizer) == (
        tmp_path / "made",
        tmp_path / "rules",
        tmp_path / "../tok",
    )
    assert loaded.sources[0].path == tmp_path / "in" / "a.csv"
    assert loaded.prompts == Path("/elsewhere")
    assert (loaded.lake, loaded.warehouse) == (
        str(tmp_path / "made" / "lake"),
        tmp_path / "made" / "warehouse.duckdb",
    )
    assert loaded.journal == f"sqlite:///{tmp_path}/made/journal.sqlite"


def test_paths_of_the_managed_server_are_relative_to_the_settings_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "adapters" / "mine").mkdir(parents=True)
    toml = "[vllm]\nmodel = 'nobody/model'\npython = '.venv/bin/python'\n"
    toml += "lora_adapters = { mine = 'adapters/mine', hub = 'nobody/adapter' }\n"
    vllm = load(tmp_path, toml).settings.vllm
    assert vllm.model == "nobody/model"
    assert vllm.python == str(tmp_path / ".venv/bin/python")
    assert vllm.lora_adapters == {
        "mine": str(tmp_path / "adapters/mine"),
        "hub": "nobody/adapter",
    }


def test_what_is_not_named_lies_in_the_package_or_in_the_folder(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path, {"AIDSAFE_TOKENIZER": ""}).settings
    assert (loaded.home, loaded.policies, loaded.tokenizer) == (
        tmp_path / "data",
        PACKAGE / "policies",
        None,
    )


@pytest.mark.parametrize(
    "environ",
    [
        {"AIDSAFE_API_KEY": KEY},
        {"AIDSAFE_MY_KEY": KEY, "AIDSAFE_ENDPOINT__API_KEY_ENV": "AIDSAFE_MY_KEY"},
    ],
    ids=["the usual variable", "a variable of one's own"],
)
def test_the_key_is_no_setting_and_is_never_shown(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    loaded = load(tmp_path, "", environ)
    assert KEY not in repr(loaded)
    assert not any(KEY in part for value in values_in_force(loaded) for part in value)
    assert KEY not in error_message(tmp_path, "engine = 'x'", environ)


def test_a_key_of_one_s_own_may_be_named_in_the_file(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, "[endpoint]\napi_key_env = 'AIDSAFE_MY_KEY'", {"AIDSAFE_MY_KEY": KEY}
    )
    assert loaded.settings.endpoint.api_key_env == "AIDSAFE_MY_KEY"


@pytest.mark.parametrize(
    ("toml", "environ"),
    [
        ("[endpoint]\napi_key = 'sk-do-not-show'", {}),
        ("", {"AIDSAFE_ENDPOINT__API_KEY": KEY}),
        ("", {"AIDSAFE_API_KEYS": KEY}),
    ],
)
def test_a_key_in_the_wrong_place_is_refused_without_being_shown(
    tmp_path: Path, toml: str, environ: dict[str, str]
) -> None:
    message = error_message(tmp_path, toml, environ)
    assert "unknown key" in message
    assert KEY not in message


def test_an_environment_that_contradicts_itself_is_explained(tmp_path: Path) -> None:
    message = error_message(
        tmp_path, "", {"AIDSAFE_ENDPOINT": "http://h", "AIDSAFE_ENDPOINT__MODEL": "m"}
    )
    assert "endpoint" in message.lower()


def test_the_order_of_environment_variables_does_not_matter(tmp_path: Path) -> None:
    environ = {
        "AIDSAFE_ENDPOINT__MODEL": "m",
        "AIDSAFE_ENDPOINT": '{"base_url": "http://h"}',
    }
    for order in (environ, dict(reversed(environ.items()))):
        endpoint = load(tmp_path, "", order).settings.endpoint
        assert (endpoint.base_url, endpoint.model) == ("http://h", "m")


@pytest.mark.parametrize(
    "toml",
    [
        "[driver]\ncalls_in_flight = 0",
        "[driver]\nmax_attempts = 0",
        "[deliberation]\nagents = 0",
    ],
)
def test_a_number_that_no_run_can_work_with_is_refused(
    tmp_path: Path, toml: str
) -> None:
    assert "greater than" in error_message(tmp_path, toml)


def test_an_empty_name_of_a_settings_file_means_the_usual_one(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {"AIDSAFE_SETTINGS": ""}).settings.seed == 0


def test_prices_in_two_currencies_are_refused_with_their_places(tmp_path: Path) -> None:
    text = """
[endpoint.prices]
input = 1
[servers.fast]
base_url = "http://127.0.0.1:1/v1"
[servers.fast.prices]
output = 2
currency = "EUR"
"""
    (tmp_path / "aidsafe.toml").write_text(text)
    with pytest.raises(SetupError, match=r"several currencies: USD .*EUR"):
        load_settings(tmp_path, {})


SAMPLED = "[grading]\nshare = 0.2\n"


def test_a_graded_share_is_refused_while_there_are_floors_and_both_ways_are_named(
    tmp_path: Path,
) -> None:
    message = error_message(tmp_path, SAMPLED)
    assert "policy_to_response 4, response_to_cot 4" in message
    assert "grading.share = 1.0" in message
    assert "[score_gate]\npolicy_to_response = 1\nresponse_to_cot = 1" in message


def test_a_graded_share_goes_with_the_floors_that_the_message_turns_off(
    tmp_path: Path,
) -> None:
    off = error_message(tmp_path, SAMPLED).rpartition("[score_gate]")[2]
    floors = [line.strip() for line in off.splitlines() if " = " in line]
    (tmp_path / "aidsafe.toml").write_text(
        "\n".join([SAMPLED, "[score_gate]", *floors])
    )
    loaded = load_settings(tmp_path, environ={}).settings
    assert loaded.grading.share == 0.2
    assert not loaded.score_gate.floors


def test_one_floor_is_enough_to_refuse_a_graded_share(tmp_path: Path) -> None:
    text = "[score_gate]\npolicy_to_response = 1\nresponse_to_cot = 1\nrelevance = 2\n"
    assert "relevance 2" in error_message(tmp_path, SAMPLED + text)
