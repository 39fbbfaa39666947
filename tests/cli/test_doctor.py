"""`aidsafe doctor` as its users meet it: what is in force, what is wrong, and what mends it."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from aidsafe_dagster.resources.engine_from_settings import make_engine
from aidsafe_dagster.settings.load import default_settings, load_settings
from tests.dialect_server import HTML, Dialect, a_dialect_server
from tests.engines.test_journal import a_request
from tests.serving import a_free_port, a_model_server
from tests.site import aidsafe, prepare

SECRET = "sk-do-not-show"
Outcome = subprocess.CompletedProcess[str]


def printed(outcome: Outcome) -> str:
    """Return everything that was printed, which is never a traceback."""
    text = outcome.stdout + outcome.stderr
    assert "Traceback" not in text
    assert SECRET not in text
    return text


def problems(outcome: Outcome) -> list[str]:
    """Return what the doctor found wrong."""
    lines = printed(outcome).splitlines()
    return [line.split()[1] for line in lines if line.startswith("✗")]


def cells(outcome: Outcome) -> dict[str, list[str]]:
    """Return setting → value and origin, as they are listed."""
    rows = {}
    origin = ""
    for line in printed(outcome).splitlines():
        if line.startswith("Settings in force, "):
            origin = line.rstrip(":").split()[-1]
        elif line.startswith("  ") and " = " in line:
            key, value = line.strip().split(" = ", 1)
            rows[key] = [value, origin]
    return rows


def lines_to_write(outcome: Outcome) -> str:
    """Return what stands under the heading for the settings file."""
    return printed(outcome).split("Lines for aidsafe.toml:")[1].strip()


def write(folder: Path, toml: str) -> Path:
    prepare(folder)
    file = folder / "aidsafe.toml"
    file.write_text(toml)
    return file


def test_the_doctor_shows_what_is_set_with_its_origin_and_no_key(
    tmp_path: Path,
) -> None:
    prepare(tmp_path, seed=3, endpoint={"model": "from-file"})
    variables = {"AIDSAFE_DRIVER__MAX_ATTEMPTS": "9", "AIDSAFE_API_KEY": SECRET}
    outcome = aidsafe(tmp_path, "doctor", **variables)
    assert outcome.returncode == 0, printed(outcome)
    rows = cells(outcome)
    assert rows["driver.max_attempts"] == ["9", "environment"]
    assert rows["seed"] == ["3", "aidsafe.toml"]
    assert rows["endpoint.model"] == ["from-file", "aidsafe.toml"]
    assert "driver.backoff_s" not in rows
    assert f"{tmp_path}/aidsafe.toml" in printed(outcome)
    assert "✗" not in printed(outcome)
    everything = cells(aidsafe(tmp_path, "doctor", "--all", **variables))
    assert everything["driver.backoff_s"] == ["0.5", "default"]
    assert everything["seed"] == ["3", "aidsafe.toml"]


def test_tables_without_keys_are_no_changed_settings(tmp_path: Path) -> None:
    write(tmp_path, "[driver]\n[sampling]\n[endpoint.prices]\n[splits]\ntest = 0.2\n")
    assert cells(aidsafe(tmp_path, "doctor")) == {
        "splits.test": ["0.2", "aidsafe.toml"]
    }


def test_a_switch_is_shown_as_the_settings_file_has_it(tmp_path: Path) -> None:
    (tmp_path / "aidsafe.toml").write_text("[pairs]\ncheck_refusals = false\n")
    assert "pairs.check_refusals = false" in printed(aidsafe(tmp_path, "doctor"))


def test_a_source_is_listed_with_what_was_set_alone(tmp_path: Path) -> None:
    source = '[[sources]]\nname = "mine"\npath = "mine.jsonl"\nlicence = "MIT"\n'
    write(tmp_path, source)
    outcome = aidsafe(tmp_path, "doctor")
    path = tmp_path / "mine.jsonl"
    assert f"sources = [{{name: mine, path: {path}, licence: MIT}}]" in outcome.stdout


def test_the_doctor_breaks_at_words_within_eighty_columns(tmp_path: Path) -> None:
    source = 'name = "mine"\npath = "mine.csv"\nlicence = "CC0-1.0"\n'
    write(tmp_path, f"[[sources]]\n{source}[driver]\nstall_s = 5.0\n")
    outcome = aidsafe(tmp_path, "doctor", "--all", COLUMNS="80")
    lines = printed(outcome).splitlines()
    too_long = [line for line in lines if len(line) > 80 and len(line.split()) > 1]
    # A single word, such as a path, is to be copied whole.
    assert [line for line in too_long if len(line.split()[-1]) < 60] == []
    assert "training.sft.gradient_accumulation = 4" in printed(outcome)


def test_the_doctor_reports_an_endpoint_that_does_not_answer(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{a_free_port()}/v1"
    prepare(tmp_path, engine="endpoint", endpoint={"base_url": url, "model": "m"})
    outcome = aidsafe(tmp_path, "doctor", AIDSAFE_API_KEY=SECRET)
    assert outcome.returncode == 1
    assert f"✗ engine {url}/models" in printed(outcome)
    assert SECRET not in printed(outcome)


def test_the_doctor_names_the_models_that_the_endpoint_serves(tmp_path: Path) -> None:
    with a_model_server(tmp_path) as server:
        prepare(
            tmp_path,
            engine="endpoint",
            endpoint={"base_url": server.base_url, "model": "gone[/red]"},
        )
        outcome = aidsafe(tmp_path, "doctor", AIDSAFE_API_KEY=SECRET)
    assert outcome.returncode == 1
    assert f"✗ engine no such model: {server.base_url} serves " in printed(outcome)
    assert "not 'gone[/red]'" in printed(outcome)


def test_the_doctor_reports_each_file_that_is_missing(tmp_path: Path) -> None:
    prepare(tmp_path, policies="gone", prompts="gone", tokenizer="gone")
    outcome = aidsafe(tmp_path, "doctor")
    assert outcome.returncode == 1
    assert problems(outcome) == ["policies", "templates", "tokens"]


def test_the_doctor_looks_at_the_second_policies(tmp_path: Path) -> None:
    second = {"AIDSAFE_COUNTERFACTUALS__POLICIES": "gone"}
    prepare(tmp_path)
    assert problems(aidsafe(tmp_path, "doctor", **second)) == ["counterfactuals"]
    # The same rules have no prompt whose right answers differ.
    second = {
        "AIDSAFE_COUNTERFACTUALS__POLICIES": str(default_settings(tmp_path).policies)
    }
    outcome = aidsafe(tmp_path, "doctor", **second)
    assert problems(outcome) == ["counterfactuals"]
    assert "change a rule" in printed(outcome)


def test_the_doctor_masks_a_secret_inside_a_setting(tmp_path: Path) -> None:
    prepare(tmp_path, journal_url=f"sqlite://user:{SECRET}@/journal.sqlite")
    inside = {
        "AIDSAFE_ENDPOINT__BASE_URL": f"http://user:{SECRET}@127.0.0.1/v1",
        "AIDSAFE_ENDPOINT__EXTRA_BODY__API_KEY": SECRET,
    }
    lines = aidsafe(tmp_path, "doctor", **inside).stdout.splitlines()
    assert [line for line in lines if SECRET in line] == []


@pytest.mark.parametrize("journal", ["not a url", "oracle://h/d"])
def test_the_doctor_reports_urls_that_cannot_be_opened(
    tmp_path: Path, journal: str
) -> None:
    prepare(tmp_path, lake_url="nosuch://bucket/lake", journal_url=journal)
    outcome = aidsafe(tmp_path, "doctor")
    assert outcome.returncode == 1
    assert problems(outcome) == ["journal", "lake"]


def test_the_doctor_asks_the_server_of_every_role(tmp_path: Path) -> None:
    with (
        a_dialect_server(context_in_list=8192) as main,
        a_dialect_server(key="another") as judge,
        a_dialect_server(models=("big-model",)) as refiner,
    ):
        write(
            tmp_path,
            f"""
engine = "endpoint"
[endpoint]
base_url = "{main.base_url}"
model = "m"
[servers.other]
profile = "openai-reasoning"
base_url = "{judge.base_url}"
api_key_env = "MY_KEY"
[roles.judge]
server = "other"
model = "m"
[roles.deliberator_2]
base_url = "{refiner.base_url}"
model = "big-modle"
""",
        )
        outcome = aidsafe(tmp_path, "doctor", MY_KEY=SECRET)
    text = printed(outcome)
    assert outcome.returncode == 1
    assert f"✓ engine {main.base_url} serves 'm' (for every role but judge" in text
    assert "context 8,192 tokens" in text
    assert "✗ server other" in text
    assert "HTTP 401: Incorrect API key provided: the key in MY_KEY is wrong" in text
    assert "(for judge)" in text
    assert "✗ server deliberator_2 no such model" in text
    assert "Did you mean 'big-model'? (for deliberator_2)" in text


def test_the_doctor_says_which_address_is_right(tmp_path: Path) -> None:
    with a_dialect_server() as server:
        endpoint = {"base_url": server.root, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        outcome = aidsafe(tmp_path, "doctor")
    assert outcome.returncode == 1
    assert f"base_url should be {server.base_url} (it should end with /v1)" in (
        printed(outcome)
    )


def test_the_doctor_recognises_a_sign_in_page(tmp_path: Path) -> None:
    with a_dialect_server(page=HTML) as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        outcome = aidsafe(tmp_path, "doctor")
    assert problems(outcome) == ["engine"]
    assert "an HTML page 'Sign in'" in printed(outcome)


def test_a_server_without_a_list_of_models_is_no_problem(tmp_path: Path) -> None:
    with a_dialect_server(models=None) as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        outcome = aidsafe(tmp_path, "doctor")
    assert outcome.returncode == 0
    assert "cannot list its models" in printed(outcome)


def test_a_server_that_should_count_tokens_and_does_not_is_a_problem(
    tmp_path: Path,
) -> None:
    with a_dialect_server() as server:
        endpoint = {"base_url": server.base_url, "model": "m", "tokenize": True}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        outcome = aidsafe(tmp_path, "doctor")
    assert outcome.returncode == 1
    assert "✗ tokenize endpoint /tokenize counts nothing, in neither dialect" in (
        printed(outcome)
    )


def test_write_needs_try(tmp_path: Path) -> None:
    prepare(tmp_path)
    outcome = aidsafe(tmp_path, "doctor", "--write")
    assert outcome.returncode == 2
    assert "--write needs --try" in printed(outcome)


def test_the_rehearsal_has_no_server_to_try(tmp_path: Path) -> None:
    prepare(tmp_path)
    outcome = aidsafe(tmp_path, "doctor", "--try")
    assert outcome.returncode == 0
    assert "No server to try" in printed(outcome)


def test_a_server_that_takes_everything_has_nothing_to_change(tmp_path: Path) -> None:
    with a_dialect_server() as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        outcome = aidsafe(tmp_path, "doctor", "--try")
    assert outcome.returncode == 0, printed(outcome)
    assert lines_to_write(outcome) == "nothing to change"


def test_the_lines_are_shown_and_nothing_is_written_without_being_told(
    tmp_path: Path,
) -> None:
    with a_dialect_server(refused=("seed",), schema="refused") as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        before = (tmp_path / "aidsafe.toml").read_text()
        outcome = aidsafe(tmp_path, "doctor", "--try")
    assert outcome.returncode == 1
    assert lines_to_write(outcome) == '[endpoint]\nomit = ["seed"]\noutput = "json"'
    assert (tmp_path / "aidsafe.toml").read_text() == before


def test_findings_are_aligned_within_eighty_columns(tmp_path: Path) -> None:
    with a_dialect_server(schema="refused", system=False) as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        text = printed(aidsafe(tmp_path, "doctor", "--try", COLUMNS="80"))
    findings = text.split("Trial of")[1].splitlines()[1:]
    assert max(map(len, findings)) <= 80


def test_what_was_found_is_written_and_then_there_is_nothing_to_change(
    tmp_path: Path,
) -> None:
    dialect = Dialect(
        refused=("seed",),
        refused_keywords=("maxLength",),
        system=False,
        limit="max_completion_tokens",
    )
    with a_dialect_server(dialect) as server:
        file = write(
            tmp_path,
            f"""# of our team
engine = "endpoint"

[endpoint]  # the big one
base_url = "{server.root}"  # no version
model = "m"

# the rest
[driver]
max_attempts = 5
""",
        )
        first = aidsafe(tmp_path, "doctor", "--try", "--write")
        second = aidsafe(tmp_path, "doctor", "--try")
        settings = load_settings(tmp_path, environ={}).settings
    assert f"Written to {file}:" in printed(first)
    assert file.read_text() == (
        f"""# of our team
engine = "endpoint"

[endpoint]  # the big one
base_url = "{server.base_url}"  # no version
model = "m"
omit = ["seed"]
rename = {{max_tokens = "max_completion_tokens"}}
schema_omit = ["maxLength"]
system = "user"

# the rest
[driver]
max_attempts = 5
"""
    )
    assert second.returncode == 0, printed(second)
    assert lines_to_write(second) == "nothing to change"
    assert settings.endpoint.system == "user"


def test_the_engine_works_with_what_was_written(tmp_path: Path) -> None:
    with a_dialect_server(
        refused=("seed",), limit="max_completion_tokens", schema="refused"
    ) as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        aidsafe(tmp_path, "doctor", "--try", "--write")
        engine = make_engine(load_settings(tmp_path, environ={}).settings)

        async def complete() -> str:
            try:
                return (await engine.complete(a_request(), 0)).text
            finally:
                await engine.close()

        assert asyncio.run(complete())


def test_a_settings_file_is_made_where_the_settings_are_variables(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    (tmp_path / "aidsafe.toml").unlink()
    with a_dialect_server(refused=("seed",)) as server:
        variables = {
            "AIDSAFE_ENGINE": "endpoint",
            "AIDSAFE_ENDPOINT__BASE_URL": server.base_url,
            "AIDSAFE_ENDPOINT__MODEL": "m",
        }
        first = aidsafe(tmp_path, "doctor", "--try", "--write", **variables)
        second = aidsafe(tmp_path, "doctor", "--try", **variables)
    assert first.returncode == 0, printed(first)
    text = (tmp_path / "aidsafe.toml").read_text()
    assert text == '[endpoint]\nomit = ["seed"]\n'
    assert lines_to_write(second) == "nothing to change"


def test_a_value_that_a_variable_sets_is_left_to_that_variable(tmp_path: Path) -> None:
    with a_dialect_server(refused=("seed", "top_p")) as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        prepare(tmp_path, engine="endpoint", endpoint=endpoint)
        variable = {"AIDSAFE_ENDPOINT__OMIT": '["top_p"]'}
        outcome = aidsafe(tmp_path, "doctor", "--try", "--write", **variable)
    assert outcome.returncode == 1
    assert "AIDSAFE_ENDPOINT__OMIT, which wins over the file" in printed(outcome)
    assert "omit" not in (tmp_path / "aidsafe.toml").read_text()


def test_a_role_with_an_address_of_its_own_gets_a_server_for_its_profile(
    tmp_path: Path,
) -> None:
    with a_dialect_server(refused=("seed",)) as server:
        write(
            tmp_path,
            f'[roles.judge]\nbase_url = "{server.base_url}"\n'
            'model = "m"\napi_key_env = "MY_KEY"\n',
        )
        outcome = aidsafe(tmp_path, "doctor", "--try", "--write", MY_KEY=SECRET)
        again = aidsafe(tmp_path, "doctor", "--try", MY_KEY=SECRET)
    assert outcome.returncode == 0, printed(outcome)
    settings = load_settings(tmp_path, environ={}).settings
    judge = settings.servers["judge"]
    assert settings.roles["judge"].server == "judge"
    assert settings.roles["judge"].base_url == ""
    assert settings.roles["judge"].model == "m"
    assert (judge.base_url, judge.api_key_env) == (server.base_url, "MY_KEY")
    assert judge.omit == ("seed",)
    assert lines_to_write(again) == "nothing to change"


def test_a_server_with_two_models_is_tried_with_each(tmp_path: Path) -> None:
    with a_dialect_server(models=("m", "n")) as server:
        endpoint = {"base_url": server.base_url, "model": "m"}
        roles = {"model": "n"}
        prepare(
            tmp_path,
            engine="endpoint",
            endpoint=endpoint,
            **{"roles.refiner": roles, "roles.judge": roles},
        )
        text = printed(aidsafe(tmp_path, "doctor", "--try"))
    assert "model 'm' · for every role but refiner, judge" in text
    assert "model 'n' · for refiner, judge" in text
    assert text.count("Trial of") == 2


def test_another_model_of_a_server_that_takes_less_gets_a_server_of_its_own(
    tmp_path: Path,
) -> None:
    with a_dialect_server(models=("m", "n"), no_seed_for=("n",)) as server:
        write(
            tmp_path,
            f"""
engine = "endpoint"
[endpoint]
base_url = "{server.base_url}"
model = "m"
slots = 8
[roles.refiner]
model = "n"
""",
        )
        outcome = aidsafe(tmp_path, "doctor", "--try", "--write")
        again = aidsafe(tmp_path, "doctor", "--try")
    settings = load_settings(tmp_path, environ={}).settings
    assert outcome.returncode == 0, printed(outcome)
    assert settings.endpoint.omit == ()
    assert settings.roles["refiner"].server == "refiner"
    assert settings.servers["refiner"].omit == ("seed",)
    assert settings.servers["refiner"].slots == 8
    assert lines_to_write(again) == "nothing to change"


def test_a_wrong_key_ends_the_trial_of_that_server_alone(tmp_path: Path) -> None:
    with a_dialect_server(key="another") as closed, a_dialect_server() as open_one:
        prepare(
            tmp_path,
            engine="endpoint",
            endpoint={"base_url": closed.base_url, "model": "m"},
            **{"roles.judge": {"base_url": open_one.base_url, "model": "m"}},
        )
        outcome = aidsafe(tmp_path, "doctor", "--try", AIDSAFE_API_KEY=SECRET)
    assert outcome.returncode == 1
    assert "✗ not tried" in printed(outcome)
    assert closed.chats == []
    assert open_one.chats != []
