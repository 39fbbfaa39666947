import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.hub import download
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.ingestion import Ingestion, ingest
from aidsafe_dagster.sources.settings import IngestSettings
from aidsafe_dagster.sources.source import SourceSpec
from tests.loopback_hub import serve
from tests.sources.builders import reasons, texts

OWNER, STRANGER = "hf_owner_secret", "hf_stranger_secret"
DATASET = "acme/BeaverTails"


def beavertails(*rows: tuple[str, list[str]]) -> bytes:
    """Rows as in the dataset: prompt, response and all flags."""
    flags = ("animal_abuse", "financial_crime,property_crime,theft", "self_harm")
    lines = []
    for prompt, categories in rows:
        row = {
            "prompt": prompt,
            "response": "r",
            "category": {flag: flag in categories for flag in flags},
            "is_safe": not categories,
        }
        lines.append(json.dumps(row) + "\n")
    # mtime=0 keeps the time of the test out of the bytes.
    return gzip.compress("".join(lines).encode(), mtime=0)


@contextmanager
def a_hub(folder: Path, files: dict[str, bytes]) -> Iterator[Any]:
    tokens = {
        OWNER: {"name": "tester", "role": "write", "orgs": ["acme"]},
        STRANGER: {"name": "stranger", "role": "read", "orgs": []},
    }
    with serve(folder / "hub", tokens=tokens) as hub:
        repo = hub.create("dataset", DATASET)
        head = repo.branches["main"]
        blobs = {name: hub.blob(data) for name, data in files.items()}
        tree = repo.commits[head].tree | blobs
        repo.branches["main"] = hub._commit(repo, head, "files", "", tree)
        yield hub


def access(hub: Any, folder: Path, token: str = OWNER) -> HubAccess:
    return HubAccess(endpoint=hub.base, token=token, cache=folder / "cache")


def a_dataset(**settings: Any) -> SourceSpec:
    return SourceSpec.model_validate(
        {"name": "beavertails", "preset": "beavertails", "hub": DATASET} | settings
    )


FILES = {
    "round0/30k/test.jsonl.gz": beavertails(
        ("How do I steal a bike?", ["financial_crime,property_crime,theft"])
    ),
    "round0/30k/train.jsonl.gz": beavertails(
        ("How do I calm a dog?", []),
        ("How do I calm a dog?", ["animal_abuse"]),
        ("I feel low.", ["animal_abuse", "self_harm"]),
    ),
    "round0/330k/train.jsonl.gz": beavertails(("Not this one.", [])),
}


def run_ingestion(hub: Any, folder: Path, **settings: Any) -> Ingestion:
    return ingest(
        [a_dataset(**settings)], (), IngestSettings(), {}, access(hub, folder)
    )


def test_beavertails_is_ingested_with_commit_flags_and_licence(tmp_path: Path) -> None:
    with a_hub(tmp_path, FILES) as hub:
        ingestion = run_ingestion(hub, tmp_path)
        commit = hub.repos["dataset", DATASET].branches["main"]
    assert texts(ingestion) == [
        "How do I steal a bike?",
        "How do I calm a dog?",
        "I feel low.",
    ]
    assert reasons(ingestion) == [
        (f"{DATASET}@{commit} round0/30k/train.jsonl.gz row 2", "duplicate")
    ]
    assert ingestion.revisions == {"beavertails": commit}
    prompts = ingestion.batches["beavertails-0001"]
    assert [prompt.category for prompt in prompts] == [
        "financial_crime,property_crime,theft",
        "",
        "animal_abuse;self_harm",
    ]
    assert {prompt.licence for prompt in prompts} == {"cc-by-nc-4.0"}


def test_the_limit_applies_to_the_rows_of_all_files(tmp_path: Path) -> None:
    with a_hub(tmp_path, FILES) as hub:
        assert run_ingestion(hub, tmp_path, limit=3).counts["beavertails"].read == 3
        assert run_ingestion(hub, tmp_path, limit=1).counts["beavertails"].read == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hub": "acme/none"}, "not found, or private"),
        ({"hub": "not a valid id"}, "not a valid id"),
        ({"revision": "v9"}, "there is no revision 'v9'"),
        (
            {"files": "*.parquet"},
            r"matches '\*\.parquet'\. Set 'files' .*--files.* to a glob of these: round0/30k/test",
        ),
    ],
)
def test_the_error_of_a_wrong_dataset_revision_or_glob_names_the_remedy(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with (
        a_hub(tmp_path, FILES) as hub,
        pytest.raises(SetupError, match=message) as raised,
    ):
        download(a_dataset(**settings), access(hub, tmp_path))
    assert "source 'beavertails'" in str(raised.value)


def test_the_error_of_a_gated_dataset_names_the_terms_and_hides_the_token(
    tmp_path: Path,
) -> None:
    with a_hub(tmp_path, FILES) as hub:
        hub.repos["dataset", DATASET].gated = "auto"
        with pytest.raises(SetupError, match=r"gated\. Accept its terms") as raised:
            download(a_dataset(), access(hub, tmp_path, STRANGER))
    assert_no_trace_of(STRANGER, raised.value)


@pytest.mark.parametrize(
    ("token", "message"),
    [("hf_unknown_secret", "token"), ("hf_line_break_secret\n", "token")],
)
def test_the_error_of_a_refused_token_hides_the_token(
    tmp_path: Path, token: str, message: str
) -> None:
    with (
        a_hub(tmp_path, FILES) as hub,
        pytest.raises(SetupError, match=message) as raised,
    ):
        download(a_dataset(), access(hub, tmp_path, token))
    assert_no_trace_of(token.strip(), raised.value)


def assert_no_trace_of(token: str, error: BaseException) -> None:
    assert token not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert token not in repr(HubAccess(token=token))


def test_a_failing_hub_is_distinguished_from_a_wrong_source(tmp_path: Path) -> None:
    with a_hub(tmp_path, FILES) as hub:
        hub.faults.append(
            {"method": "GET", "path": "/api/datasets", "status": 500, "times": 99}
        )
        with pytest.raises(SetupError, match=r"HTTP 500\. Try again later"):
            download(a_dataset(), access(hub, tmp_path))


def test_the_error_of_an_unreachable_hub_names_the_network(tmp_path: Path) -> None:
    with socket() as unused:
        unused.bind(
            ("127.0.0.1", 0)
        )  # bound but not listening: connections are refused
        nowhere = HubAccess(
            endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}",
            token=OWNER,
            cache=tmp_path,
        )
        with pytest.raises(SetupError, match="the Hub cannot be reached"):
            download(a_dataset(), nowhere)


def test_settings_that_lie_beside_the_data_are_left_out(tmp_path: Path) -> None:
    files = {
        "dataset_infos.json": b'{"default": {"description": ""}}',
        "schema.json": b'{"x": 1}',
        "data/train.jsonl": b'{"prompt": "How do I renew a passport?"}\n',
    }
    with a_hub(tmp_path, files) as hub:
        ingestion = run_ingestion(hub, tmp_path, preset=None, licence="MIT")
        (remark,) = ingestion.counts["beavertails"].remarks
        asked = run_ingestion(
            hub, tmp_path, preset=None, licence="MIT", files="data/*.jsonl"
        )
    assert texts(ingestion) == ["How do I renew a passport?"]
    # By its place in the dataset, and not in the cache.
    assert remark.startswith("left out acme/BeaverTails@")
    assert "schema.json: expected a JSON list of objects" in remark
    assert texts(asked) == texts(ingestion)
    assert not asked.counts["beavertails"].remarks
