"""Publishing as a run: from batches of a model server, through gates, to a folder and a Hub."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.recipe.records import Stage
from tests.publishing.hubs import (
    READER,
    REPO,
    TOKEN,
    a_hub,
    commits,
    files_there,
    the_repo,
)
from tests.runs.test_resume import settings_for
from tests.serving import a_model_server
from tests.site import Site, a_site, prompts_file, some_prompts

VARIABLE = "TOKEN_TO_PUBLISH_WITH"


@dataclass(frozen=True)
class Published:
    site: Site
    hub: Any


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """One batch made, another only ingested; nothing published."""
    folder = tmp_path_factory.mktemp("publishing")
    with a_model_server(folder) as server, a_hub(folder) as hub:
        publish = {
            "licence": "MIT",
            "repo": REPO,
            "endpoint": hub.base,
            "token_env": VARIABLE,
            "wait_s": 0.01,
        }
        small = {
            "ingest": {"batch_size": 4},
            "splits": {"test": 0.3},
            "pairs": {"iterations": 1},
        }
        settings = settings_for(server) | {"publish": publish} | small
        with (
            a_site(folder / "site", **settings) as site,
            pytest.MonkeyPatch.context() as environment,
        ):
            environment.setenv(VARIABLE, TOKEN)
            assert site.ingest(prompts_file(folder, some_prompts(5))).success
            assert site.make("mine-0001").error == ""
            yield Published(site, hub)


def publish(site: Site, **config: Any) -> BatchRun:
    return run_job(
        site.instance,
        "publish",
        config={"ops": {"published_dataset": {"config": config}}},
    )


def metadata_of(run: BatchRun) -> dict[str, Any]:
    assert run.success, run.error
    return {
        name: value.value
        for name, value in run.metadata.items()
        if hasattr(value, "value")
    }


def table(run: BatchRun, name: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in run.metadata[name].records]


def test_a_dry_run_is_the_default_and_asks_nothing_of_the_hub(
    prepared: Published,
) -> None:
    before = len(prepared.hub.log)
    run = publish(prepared.site)
    metadata = metadata_of(run)
    assert metadata["dry_run"] is True
    assert len(prepared.hub.log) == before
    folder = Path(metadata["path"])
    assert folder == prepared.site.settings.home / "published" / metadata["version"]
    assert {file["path"] for file in table(run, "files")} == {
        str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()
    }
    assert metadata["card"].lstrip().startswith("# cot")
    assert not (folder / "README.md").read_text().count("rehearsal")


def test_every_row_behind_an_open_gate_is_in_and_other_batches_are_named(
    prepared: Published,
) -> None:
    run = publish(prepared.site)
    splits = prepared.site.lake.all_rows(Stage.FINE_TUNE_SPLITS)
    assert splits is not None
    counts = {line["config/split"]: line["count"] for line in table(run, "rows")}
    assert (
        sum(count for name, count in counts.items() if name.startswith("sft"))
        == splits.filter(kind="sft").height
    )
    assert (
        sum(count for name, count in counts.items() if name.startswith("dpo"))
        == splits.filter(kind="dpo").height
    )
    assert table(run, "batches_left_out") == [
        {"batch": "mine-0002", "why": "fine_tune_splits has not been made yet"}
    ]


def test_sending_makes_one_commit_and_sending_again_none(prepared: Published) -> None:
    first, again = (
        metadata_of(publish(prepared.site, dry_run=False)),
        metadata_of(publish(prepared.site, dry_run=False)),
    )
    assert commits(prepared.hub) == 1
    assert (first["committed"], again["committed"]) == (True, False)
    assert (first["url"], first["tag"]) == (
        f"{prepared.hub.base}/datasets/{REPO}",
        f"v{first['version']}",
    )
    assert the_repo(prepared.hub).tags == {first["tag"]: first["commit"]}
    assert (first["bytes_sent"], first["bytes_unchanged"]) == (
        again["bytes_unchanged"],
        again["bytes_sent"],
    )
    assert first["rows_read_back"] == first["dagster/row_count"]
    assert (
        files_there(prepared.hub)["README.md"].decode().partition("\n---\n")[2]
        == first["card"]
    )


def test_a_batch_whose_rows_changed_after_their_gate_is_left_out(
    prepared: Published,
) -> None:
    lake = prepared.site.lake
    path = lake.rows_path(Stage.FINE_TUNE_SPLITS, "mine-0001")
    before = path.read_bytes()
    try:
        lake.write(
            Stage.FINE_TUNE_SPLITS,
            "mine-0001",
            lake.rows(Stage.FINE_TUNE_SPLITS, "mine-0001").head(1),
        )
        run = publish(prepared.site)
    finally:
        path.write_bytes(before)
    assert re.search(
        r"no row to publish \(mine-0001: .*integrity outdated.*; mine-0002: .*not been made yet\)",
        run.error,
    )


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (
            "cot_grades",
            "Batch mine-0001 is included by a person's decision although a check failed: "
            "cot\\_grades",
        ),
        (
            "preference_pairs",
            "Batch mine-0001 is included without its DPO rows: preference\\_pairs",
        ),
    ],
)
def test_a_closed_gate_behind_published_rows_is_told(
    prepared: Published, stage: str, told: str
) -> None:
    site = prepared.site
    path = site.lake.root / stage / "batch=mine-0001" / "failures.parquet"
    before = path.read_bytes()
    try:
        path.unlink()  # the checks judged other bytes
        card = metadata_of(publish(site))["card"]
    finally:
        path.write_bytes(before)
    assert told in card


def test_a_failed_publication_shows_no_token_anywhere(
    prepared: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, READER)
    before = len(prepared.hub.repos)
    run = publish(prepared.site, dry_run=False, repo="acme/other")
    assert not run.success
    assert "HTTP 403" in run.error
    assert len(prepared.hub.repos) == before
    events = [
        str(record.event_log_entry)
        for record in _records(prepared.site.instance, run.run_id)
    ]
    assert events
    for token in (READER, TOKEN):
        assert token not in run.error
        assert not [event for event in events if token in event]
        assert not [
            str(file)
            for file in _files(prepared.site.folder)
            if token.encode() in file.read_bytes()
        ]


@pytest.mark.parametrize(
    ("config", "variables", "message"),
    [
        ({"repo": "no owner"}, {}, "'publish.repo'"),
        (
            {"dry_run": False},
            {VARIABLE: "", "HF_TOKEN": ""},
            f"needs a token .*: set {VARIABLE}, or",
        ),
        (
            {},
            {"AIDSAFE_PUBLISH__LICENCE": "cc0-1.0"},
            "does not cover source 'mine'.*under MIT",
        ),
        ({}, {"AIDSAFE_PUBLISH__LICENCE": ""}, r"set publish\.licence"),
        ({"dry_run": False}, {"AIDSAFE_PUBLISH__REPO": ""}, r"set publish\.repo"),
    ],
)
def test_a_mistake_in_the_set_up_is_explained(
    prepared: Published,
    monkeypatch: pytest.MonkeyPatch,
    config: Any,
    variables: dict[str, str],
    message: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_TOKEN_PATH", "/nowhere")
    run = publish(prepared.site, **config)
    assert not run.success
    assert re.search(message, run.error)


def _records(instance: dg.DagsterInstance, run_id: str) -> list[Any]:
    return list(instance.get_records_for_run(run_id, limit=1000).records)


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]
