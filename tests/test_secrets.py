"""Secrets in every kind of failure: none is printed, logged or written to a file.

tests/distributed has those that go through a database server, an object store and several hosts.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from traceback import format_exception
from typing import Any

import dagster as dg
import pytest

from aidsafe_dagster.cli.doctor import examine, values_in_force
from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.engines.settings import EmbeddingSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.web_ui.listening import HOST
from tests.graphql import ask
from tests.loopback_hub import serve
from tests.serving import a_free_port
from tests.site import (
    ROOT,
    a_site,
    aidsafe,
    environment,
    prepare,
    prompts_file,
    some_prompts,
)

DRIVER = "postgresql+psycopg2"
needs_the_extra = pytest.mark.distributed
"""Without the extra `cluster`, a missing driver is the error, and nothing else is tested."""

KEY, TOKEN, OBJECTS, PASSWORD = (
    "sk-zqmk1-5e1f77d0c0ffee",
    "hf_zqmk2e41c2d8e05b",
    "zqmk3A9c3e/77bd",
    "zqmk4-77a1fe",
)
SECRETS = {
    "AIDSAFE_API_KEY": KEY,
    "HF_TOKEN": TOKEN,
    "PGPASSWORD": PASSWORD,
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": OBJECTS,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
MARKS = ("zqmk", "5e1f77d0c0", "41c2d8e05b", "A9c3e/77", "77a1fe")
"""Parts of the secrets: a piece of one is a leak as well."""
DEAD = "http://127.0.0.1:1"


def leaks_in(text: str) -> list[str]:
    """Return the lines that hold a part of a secret."""
    return [line for line in text.splitlines() if any(mark in line for mark in MARKS)]


def leaks_on_disk(folder: Path) -> list[str]:
    """Return the files that hold a part of a secret, apart from the settings a person wrote."""
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and file.name != "aidsafe.toml"
    ]
    return [
        str(file.relative_to(folder))
        for file in files
        if holds_a_mark(file.read_bytes())
    ]


def holds_a_mark(data: bytes) -> bool:
    return any(mark.encode() in data for mark in MARKS)


def output_of(folder: Path, *commands: tuple[str, ...], **changes: str) -> str:
    """Return all that these commands print. Each of them has to fail."""
    output = ""
    for command in commands:
        outcome = aidsafe(folder, *command, **(SECRETS | changes))
        assert outcome.returncode, command
        output += outcome.stdout + outcome.stderr
    return output


def endpoint(base_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": base_url, "model": "m", "timeout_s": 5, **changes},
        "driver": {"max_attempts": 1, "backoff_s": 0.01, "first_answer_s": 0.1},
    }


@contextmanager
def an_echoing_server(status: int, offset: int) -> Iterator[str]:
    """Answer every request with the key it came with, after so many other characters."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = (
                "x" * offset + f" wrong key: {self.headers['Authorization']}"
            ).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("offset", [0, 268], ids=["whole", "cut within the key"])
@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_sends_the_key_back_does_not_get_it_shown_or_recorded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], status: int, offset: int
) -> None:
    with (
        an_echoing_server(status, offset) as base_url,
        a_site(tmp_path, **endpoint(base_url)) as site,
    ):
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
        run = site.make("mine-0001")
        details = [
            row
            for stage in always_made()
            for row in site.lake.failures(stage, "mine-0001")["detail"]
        ]
    assert f"HTTP {status}" in "".join([run.error, *details])
    assert leaks_in("\n".join([run.error, *details, *capfd.readouterr()])) == []
    assert leaks_on_disk(tmp_path) == []


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("offset", [0, 268], ids=["whole", "cut within the key"])
def test_a_server_of_embeddings_that_sends_the_key_back_does_not_get_it_shown(
    offset: int,
) -> None:
    with an_echoing_server(401, offset) as base_url:
        embed = embedder(EmbeddingSettings(model="m", base_url=base_url))
        assert embed is not None
        with pytest.raises(SetupError, match="HTTP 401") as refused:
            embed(["a text"])
    assert leaks_in("".join(format_exception(refused.value))) == []


@pytest.mark.parametrize(
    "key", [KEY + "\n", f"“{KEY}”"], ids=["with a line end", "in typographic quotes"]
)
def test_a_key_that_cannot_be_sent_is_not_shown(tmp_path: Path, key: str) -> None:
    with a_site(tmp_path, **endpoint(f"{DEAD}/v1")) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
    assert leaks_in(output_of(tmp_path, ("backfill",), AIDSAFE_API_KEY=key)) == []
    assert leaks_on_disk(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        "KEY",
        "ENDPOINT__API_KEY",
        "ENDPOINT__API_KEY_ENV",
        "ROLES__REFINER__API_KEY_ENV",
    ],
)
@pytest.mark.parametrize("secret", [KEY, TOKEN])
def test_a_secret_that_was_put_where_a_setting_belongs_is_refused_and_not_shown(
    tmp_path: Path, name: str, secret: str
) -> None:
    with pytest.raises(SetupError) as refused:
        load_settings(tmp_path, environ={f"AIDSAFE_{name}": secret})
    assert name.lower().replace("__", ".") in str(refused.value)
    assert leaks_in("".join(format_exception(refused.value))) == []


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(
            f"{DRIVER}://aidsafe:{PASSWORD}@127.0.0.1:1/none",
            id="nobody listens",
            marks=needs_the_extra,
        ),
        pytest.param(
            f"{DRIVER}://aidsafe:p@{PASSWORD}@127.0.0.1:1/none",
            id="an @ in it",
            marks=needs_the_extra,
        ),
        pytest.param(
            f"{DRIVER}://aidsafe:p/{PASSWORD}@127.0.0.1:1/none",
            id="a slash in it",
            marks=needs_the_extra,
        ),
        pytest.param(
            f"{DRIVER}://aidsafe:{PASSWORD}@127.0.0.1:port/none", id="no port"
        ),
        pytest.param(
            f"postgres://aidsafe:{PASSWORD}@127.0.0.1:1/none", id="no such dialect"
        ),
        pytest.param(
            f"postgresql+nobody://aidsafe:{PASSWORD}@127.0.0.1:1/none",
            id="no such driver",
        ),
    ],
)
def test_the_doctor_does_not_show_a_journal_s_password_whatever_is_wrong_with_its_url(
    tmp_path: Path, url: str
) -> None:
    loaded = load_settings(
        tmp_path, environ={"AIDSAFE_JOURNAL_URL": url, "AIDSAFE_HOME": str(tmp_path)}
    )
    findings = {finding.what: finding for finding in examine(loaded.settings)}
    assert not findings["journal"].ok
    assert leaks_in("\n".join(finding.detail for finding in findings.values())) == []
    assert leaks_in("\n".join(value for _, value, _ in values_in_force(loaded))) == []


@needs_the_extra
def test_a_journal_that_cannot_be_reached_gets_its_password_neither_shown_nor_recorded(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    url = f"postgresql+psycopg2://aidsafe:{PASSWORD}@127.0.0.1:1/none?connect_timeout=1"
    output = output_of(
        tmp_path, ("demo", ".", "--sample", "1"), AIDSAFE_JOURNAL_URL=url
    )
    assert "aidsafe:***@127.0.0.1" in output
    assert leaks_in(output) == []
    assert leaks_on_disk(tmp_path) == []


@needs_the_extra
def test_a_dagster_storage_that_cannot_be_reached_is_named_without_its_password(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    shutil.copy(ROOT / "deploy" / "hosts" / "dagster.yaml", tmp_path)
    url = f"{DRIVER}://aidsafe:{PASSWORD}@127.0.0.1:1/none"
    queue = {"CELERY_BROKER_URL": f"sqla+{url}", "CELERY_RESULT_BACKEND": f"db+{url}"}
    output = output_of(tmp_path, ("status",), DAGSTER_POSTGRES_URL=url, **queue)
    assert "its storage cannot be opened" in output
    assert "Traceback" not in output
    assert leaks_in(output) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("journal_url", f"postgresql+psycopg2://aidsafe:{PASSWORD}@db/aidsafe"),
        ("lake_url", f"ftp://me:{PASSWORD}@files/lake"),
    ],
)
def test_a_password_in_the_settings_file_is_refused_and_not_shown(
    tmp_path: Path, key: str, value: str
) -> None:
    prepare(tmp_path, **{key: value})
    with pytest.raises(SetupError, match=f"'{key}' holds a password") as refused:
        load_settings(tmp_path, environ={})
    assert leaks_in("".join(format_exception(refused.value))) == []


@needs_the_extra
def test_an_object_store_that_cannot_be_reached_gets_no_key_shown(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    prompts_file(tmp_path, some_prompts(3))
    away = {"AIDSAFE_LAKE_URL": "s3://nowhere/lake", "AWS_ENDPOINT_URL": DEAD}
    output = output_of(tmp_path, ("doctor",), ("ingest", "mine.jsonl"), **away)
    assert leaks_in(output) == []
    assert leaks_on_disk(tmp_path) == []


def test_a_hub_that_refuses_the_token_gets_it_neither_shown_nor_recorded(
    tmp_path: Path,
) -> None:
    with serve(
        tmp_path / "hub",
        tokens={"hf_another": {"name": "tester", "role": "read", "orgs": []}},
    ) as hub:
        hub.create("dataset", "acme/private", private=True)
        prepare(tmp_path / "site")
        command = (
            "ingest",
            "--hub",
            "acme/private",
            "--prompt-column",
            "prompt",
            "--licence",
            "MIT",
        )
        output = output_of(
            tmp_path / "site",
            command,
            HF_ENDPOINT=hub.base,
            HF_HUB_DISABLE_TELEMETRY="1",
        )
    assert "acme/private" in output
    assert leaks_in(output) == []
    assert leaks_on_disk(tmp_path / "site") == []


@pytest.mark.slow
@pytest.mark.usefixtures("secrets")
def test_what_the_web_ui_shows_of_a_failed_run_holds_no_secret(tmp_path: Path) -> None:
    with (
        an_echoing_server(401, 0) as base_url,
        a_site(tmp_path, **endpoint(base_url)) as site,
    ):
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
        run = site.make("mine-0001")
        assert not run.success
        assert leaks_in(run.error) == []
        shown = shown_in_the_web_ui(site.instance, tmp_path)
    assert "HTTP 401" in shown
    assert leaks_in(shown) == []


QUERY = """
query ($run: ID!) {
  runOrError(runId: $run) {
    ... on Run {
      status runConfigYaml tags { key value }
      eventConnection {
        events {
          __typename
          ... on MessageEvent { message eventType }
          ... on ErrorEvent { error { message stack errorChain { error { message stack } } } }
          ... on MaterializationEvent {
            metadataEntries { label ... on TextMetadataEntry { text } }
          }
        }
      }
    }
  }
}
"""


def shown_in_the_web_ui(instance: dg.DagsterInstance, folder: Path) -> str:
    """Ask the real server for events, errors and configuration of all runs, as the UI does."""
    port = a_free_port()
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    with subprocess.Popen(
        [program, "--host", "127.0.0.1", "--port", str(port), "--empty-workspace"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            answers = [ask(port, QUERY, run=run.run_id) for run in instance.get_runs()]
        finally:
            server.terminate()
    return "\n".join(json.dumps(answer, indent=0) for answer in answers)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (
            "at postgresql://me:secret@db:5432/x, tried once",
            "at postgresql://me:***@db:5432/x, tried once",
        ),
        ("ftp://:secret@files/a", "ftp://:***@files/a"),
        ("postgresql://me:sec@ret@db/x", "postgresql://me:***@db/x"),
        (
            "http://127.0.0.1:8000/datasets/a@main",
            "http://127.0.0.1:8000/datasets/a@main",
        ),
        ("postgresql://me:sec/ret@db/x", "postgresql://me:***@db/x"),
        ("db/x?password=sec&timeout=5", "db/x?password=***&timeout=5"),
        ("http://h/v1?api_key=sec refused", "http://h/v1?api_key=*** refused"),
        (
            "s3://bucket/lake and https://hub/a@b",
            "s3://bucket/lake and https://hub/a@b",
        ),
    ],
)
def test_passwords_are_masked_and_nothing_else(text: str, masked: str) -> None:
    assert mask_url_secrets(text) == masked
    assert str(SetupError(text)) == masked


def test_the_web_ui_is_started_on_loopback() -> None:
    assert HOST == "127.0.0.1"
    assert "--host 127.0.0.1" in (ROOT / "deploy" / "hosts" / "control.sh").read_text()
