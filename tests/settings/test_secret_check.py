"""A secret among the settings is refused before anything shows it. Odd values are accepted."""

from pathlib import Path
from traceback import format_exception

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings

MARK = "zqmk5e1f77d0c0ffee"
KEY, TOKEN = f"sk-{MARK}", f"hf_{MARK}"


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        (f'[endpoint]\nmodel = "{KEY}"', "endpoint.model"),
        (f'[endpoint]\nslots = "{KEY}"', "endpoint.slots"),
        (f'endpoint = "{TOKEN}"', "endpoint"),
        (
            f'[endpoint]\nbase_url = "https://gateway/v1?api_key={MARK}"',
            "endpoint.base_url",
        ),
        (f'[endpoint]\nbase_url = "https://{MARK}@gateway/v1"', "endpoint.base_url"),
        (f'[endpoint]\nbase_url = "https://me:{MARK}@gateway/v1"', "endpoint.base_url"),
        (
            f'[endpoint]\nbase_url = "https://me: {MARK}@gateway/v1"',
            "endpoint.base_url",
        ),
        (f'[endpoint.extra_body]\napi_key = "{MARK}"', "endpoint.extra_body.api_key"),
        (f'[embeddings]\nbase_url = "http://h/v1?token={MARK}"', "embeddings.base_url"),
        (
            f'[roles.refiner]\nbase_url = "http://me:{MARK}@h/v1"',
            "roles.refiner.base_url",
        ),
        (f'[vllm]\nextra_args = ["--api-key", "{MARK}"]', "vllm.extra_args"),
        (f'[vllm.environment]\nHF_TOKEN = "{MARK}"', "vllm.environment.HF_TOKEN"),
        (
            f'[training.environment]\nWANDB_API_KEY = "{MARK}"',
            "training.environment.WANDB_API_KEY",
        ),
        (f'[publish]\nendpoint = "https://me:{MARK}@hub"', "publish.endpoint"),
        (f'lake_url = "s3://id:{MARK}/{MARK}@bucket/lake"', "lake_url"),
        (f'journal_url = "postgresql://me:{MARK}@db/x"', "journal_url"),
        (f'journal_url = "postgresql://me@db/x?password={MARK}"', "journal_url"),
        (f'[[sources]]\nname = "mine"\npath = "x.csv"\nlicence = "{TOKEN}"', "sources"),
    ],
)
def test_a_secret_in_the_settings_file_is_refused_and_not_shown(
    tmp_path: Path, toml: str, place: str
) -> None:
    (tmp_path / "aidsafe.toml").write_text(toml)
    with pytest.raises(SetupError, match=f"'{place}' holds ") as error:
        load_settings(tmp_path, environ={})
    assert MARK not in "".join(format_exception(error.value))


@pytest.mark.parametrize(
    "url",
    [f"postgresql://me@db/x?password={MARK}", f"postgresql://me:a {MARK}@db/x"],
    ids=["as a parameter", "with a space"],
)
def test_a_journal_s_password_that_could_not_be_masked_is_refused_in_the_environment_too(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(SetupError, match="'journal_url' holds ") as error:
        load_settings(tmp_path, environ={"AIDSAFE_JOURNAL_URL": url})
    assert MARK not in str(error.value)


def test_what_the_launchpad_says_is_looked_at_as_well(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError, match=r"launchpad: 'endpoint\.model' holds "
    ) as error:
        load_settings(tmp_path, environ={}, overrides={"endpoint": {"model": KEY}})
    assert MARK not in str(error.value)


def test_what_only_resembles_a_secret_is_taken(tmp_path: Path) -> None:
    (tmp_path / "aidsafe.toml").write_text(
        """
        journal_url = "postgresql+psycopg2://me@db:5432/x?connect_timeout=5"
        lake_url = "s3://bucket/lake"
        [endpoint]
        base_url = "https://gateway.example:8443/team@home/v1"
        model = "disk-benchmarks/risk-assessment-large-v2"
        [endpoint.extra_body]
        skip_special_tokens = false
        stop_token_ids = [1, 2]
        [vllm]
        extra_args = ["--tokenizer-mode", "auto", "--max-num-batched-tokens", "8192",
                      "--ssl-keyfile", "key.pem"]
        [vllm.environment]
        VLLM_LOGGING_LEVEL = "DEBUG"
        """
    )
    settings = load_settings(
        tmp_path, environ={"AIDSAFE_JOURNAL_URL": "postgresql://me:pass/word@db/x"}
    ).settings
    assert settings.endpoint.extra_body["stop_token_ids"] == [1, 2]
    assert settings.journal == "postgresql://me:pass/word@db/x"
