"""Publishing to a Hub: one commit, one tag, and what happens when the Hub, the line or somebody else is in the way."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from huggingface_hub import HfApi

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.card import CardContext
from aidsafe_dagster.publishing.hub import DatasetRepo, PublishResult
from aidsafe_dagster.publishing.release import Release, make_release
from aidsafe_dagster.recipe.errors import SetupError
from tests.builders import policies
from tests.publishing.hubs import (
    READER,
    REPO,
    TOKEN,
    a_hub,
    a_line,
    commits,
    fail,
    files_there,
    someone_commits,
    the_repo,
)
from tests.publishing.lakes import a_filled_lake, chosen, fill, publish_settings
from tests.publishing.test_release import read_by_datasets

Say = Callable[[str], None]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Any]:
    with a_hub(tmp_path) as found:
        yield found


def release(folder: Path, lake: Lake | None = None, **settings: Any) -> Release:
    known = lake or a_filled_lake(folder, "demo-0001")
    return make_release(
        known, chosen(known), CardContext(publish_settings(**settings), policies()), folder
    )


def publish(
    hub: Any,
    made: Release,
    token: str = TOKEN,
    at: str = "",
    say: Say = lambda _: None,
    **settings: Any,
) -> PublishResult:
    api = HfApi(endpoint=at or hub.base, token=token)
    return DatasetRepo(api, publish_settings(**{"verify": False} | settings), say).publish(made)


def test_a_release_is_one_commit_with_card_and_data_and_a_tag(hub: Any, tmp_path: Path) -> None:
    made = release(tmp_path)
    published = publish(hub, made, verify=True)
    repo = the_repo(hub)
    assert commits(hub) == 1
    assert repo.tags == {f"v{made.version}": published.commit} == {published.tag: published.tagged_commit}
    assert files_there(hub) == {
        file.path: (made.folder / file.path).read_bytes() for file in made.files
    } | {".gitattributes": files_there(hub)[".gitattributes"]}
    assert published.verified_rows == sum(made.rows.counts.values())
    assert published.url == f"{hub.base}/datasets/{REPO}"


def test_publishing_again_makes_no_commit_and_sends_nothing(hub: Any, tmp_path: Path) -> None:
    made = release(tmp_path)
    first = publish(hub, made)
    seen = len(hub.log)
    again = publish(hub, made)
    assert (again.commit, again.plan.is_empty, commits(hub)) == (first.commit, True, 1)
    assert {entry["method"] for entry in hub.log[seen:]} == {"GET"}


def test_datasets_loads_it_from_the_hub(hub: Any, tmp_path: Path) -> None:
    made = release(tmp_path)
    publish(hub, made)
    found = read_by_datasets(REPO, tmp_path / "cache", HF_ENDPOINT=hub.base, HF_TOKEN=TOKEN)
    counts = {
        (config, split): seen["rows"]
        for config, splits in found.items()
        for split, seen in splits.items()
    }
    assert counts == made.rows.counts


def test_a_new_batch_is_a_second_commit_that_sends_what_changed(hub: Any, tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    first = publish(hub, release(tmp_path, lake))
    fill(lake, "demo-0002", prompts=1)
    made = release(tmp_path, lake)
    second = publish(hub, made)
    assert commits(hub) == 2
    assert set(the_repo(hub).tags) == {first.tag, second.tag}
    assert len(second.plan.keep) == 6  # a prompt is in one split of each config
    assert {file.path for file in second.plan.send} >= {"README.md"}


def test_files_of_ours_that_are_no_more_are_deleted_and_others_stay(
    hub: Any, tmp_path: Path
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    publish(hub, release(tmp_path, lake))
    someone_commits(hub, LICENSE=b"terms")
    published = publish(hub, release(tmp_path, lake, configs=("sft",)))
    assert {path.split("/")[1] for path in published.plan.delete} == {"dpo", "deliberations"}
    assert {path.split("/")[0] for path in files_there(hub)} == {
        ".gitattributes",
        "LICENSE",
        "README.md",
        "data",
    }
    assert not [path for path in files_there(hub) if path.startswith("data/dpo")]


def test_a_new_repository_is_private_and_gated_before_anything_is_in_it(
    hub: Any, tmp_path: Path
) -> None:
    publish(hub, release(tmp_path))
    assert (the_repo(hub).private, the_repo(hub).gated) == (True, "auto")
    order = [
        entry["path"].rpartition("/")[2] for entry in hub.log if entry["method"] in ("POST", "PUT")
    ]
    assert order.index("settings") < order.index("validate-yaml")


@pytest.mark.parametrize(
    ("there", "wanted", "then"),
    [
        (False, "manual", "manual"),
        ("manual", "auto", "manual"),
        ("auto", "off", "auto"),
        (False, "off", False),
    ],
)
def test_a_gate_is_never_loosened(
    hub: Any, tmp_path: Path, there: Any, wanted: str, then: Any
) -> None:
    repo = hub.create("dataset", REPO)
    repo.gated = there
    publish(hub, release(tmp_path), gated=wanted)
    assert (repo.gated, repo.private) == (then, False)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_commit_that_the_hub_cannot_take_now_is_tried_again(
    hub: Any, tmp_path: Path, status: int
) -> None:
    fail(hub, "POST", "/commit/", status, times=2)
    said: list[str] = []
    publish(hub, release(tmp_path), say=said.append)
    assert commits(hub) == 1
    assert [line for line in said if "committing" in line and "try 3 of 6" in line]


def test_the_hub_s_own_waiting_time_is_kept(hub: Any, tmp_path: Path) -> None:
    fail(hub, "POST", "/commit/", 429, retry_after="0")
    said: list[str] = []
    publish(hub, release(tmp_path), say=said.append, wait_s=100)
    assert [line for line in said if "limits the rate; try 2 of 6 in 0.0 s" in line]


def test_a_waiting_time_beyond_patience_is_told_and_ends_it(hub: Any, tmp_path: Path) -> None:
    fail(hub, "POST", "/commit/", 429, retry_after="3600")
    with pytest.raises(
        SetupError, match=r"committing: the Hub limits the rate; it asks to wait 3600 s"
    ):
        publish(hub, release(tmp_path))


def test_patience_ends(hub: Any, tmp_path: Path) -> None:
    fail(hub, "POST", "/commit/", 502, times=99)
    with pytest.raises(SetupError, match=r"in trouble \(HTTP 502\); gave up after 3 tries"):
        publish(hub, release(tmp_path), attempts=3)
    assert commits(hub) == 0
    hub.faults.clear()
    publish(hub, release(tmp_path))
    assert commits(hub) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", r"/api/datasets/acme/cot$"),
        ("POST", "/repos/create"),
        ("PUT", "/settings"),
        ("POST", "/preupload/"),
        ("GET", "/xet-write-token/"),
        ("GET", "/refs"),
        ("POST", "/tag/"),
    ],
)
def test_every_step_survives_a_hub_in_trouble(
    hub: Any, tmp_path: Path, method: str, path: str
) -> None:
    fail(hub, method, path, 503)
    made = release(tmp_path)
    published = publish(hub, made)
    assert (commits(hub), the_repo(hub).tags) == (1, {published.tag: published.commit})


def test_an_upload_that_was_lost_on_the_way_is_sent_again(hub: Any, tmp_path: Path) -> None:
    losses = iter([True])

    def lose(method: str, path: str) -> bool:
        if method == "POST" and "/commit/" in path and next(losses, False):
            shutil.rmtree(hub.root / "cas")
        return False

    said: list[str] = []
    made = release(tmp_path)
    with a_line(hub, lose) as line:
        assert publish(hub, made, at=line, say=said.append, verify=True).read_back == sum(
            made.rows.counts.values()
        )
    assert [line for line in said if "a file did not arrive whole" in line]


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub: Any, tmp_path: Path) -> None:
    cuts = iter([True])

    def cut(method: str, path: str) -> bool:
        return method == "POST" and "/commit/" in path and next(cuts, False)

    made = release(tmp_path)
    with a_line(hub, cut) as line:
        published = publish(hub, made, at=line)
    assert commits(hub) == 1
    assert published.commit == the_repo(hub).branches["main"]
    assert not published.plan.is_empty


def test_a_tag_that_a_crash_kept_from_being_made_is_made_by_the_next_run(
    hub: Any, tmp_path: Path
) -> None:
    made = release(tmp_path)
    fail(hub, "POST", "/tag/", 500, times=99)
    with pytest.raises(SetupError, match="tagging"):
        publish(hub, made, attempts=2)
    hub.faults.clear()
    assert (commits(hub), the_repo(hub).tags) == (1, {})
    published = publish(hub, made)
    assert (commits(hub), the_repo(hub).tags) == (1, {published.tag: published.commit})


def test_the_tag_of_the_same_rows_stays_when_only_the_card_changes(
    hub: Any, tmp_path: Path
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    first = publish(hub, release(tmp_path, lake))
    second = publish(hub, release(tmp_path, lake, pretty_name="Another name"))
    assert [file.path for file in second.plan.send] == ["README.md"]
    assert (second.tag, second.tagged) == (first.tag, first.commit)
    assert second.commit != first.commit


def meddling(hub: Any, **files: bytes) -> Callable[[str, str], bool]:
    """Somebody commits just before our first commit arrives."""
    times = iter([True])

    def hook(method: str, path: str) -> bool:
        if method == "POST" and "/commit/" in path and next(times, False):
            someone_commits(hub, **files)
        return False

    return hook


def test_a_commit_of_somebody_else_to_other_files_is_built_upon(hub: Any, tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    publish(hub, release(tmp_path, lake))
    fill(lake, "demo-0002")
    made, said = release(tmp_path, lake), list[str]()
    with a_line(hub, meddling(hub, LICENSE=b"terms")) as line:
        publish(hub, made, at=line, say=said.append)
    assert commits(hub) == 3
    assert files_there(hub)["LICENSE"] == b"terms"
    assert files_there(hub)["README.md"] == made.card.encode()
    assert [line for line in said if "somebody committed" in line and "going on from there" in line]


def test_a_commit_of_somebody_else_to_our_files_is_left_alone(hub: Any, tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    publish(hub, release(tmp_path, lake))
    fill(lake, "demo-0002")
    with (
        a_line(hub, meddling(hub, README_md=b"mine now")) as line,
        pytest.raises(
            SetupError, match=r"somebody changed README\.md meanwhile .*Nothing was committed"
        ),
    ):
        publish(hub, release(tmp_path, lake), at=line)
    assert commits(hub) == 2
    assert files_there(hub)["README.md"] == b"mine now"


def test_the_card_that_the_hub_refuses_is_told_in_its_words(hub: Any, tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001", licence="cc0-1.0")
    with pytest.raises(
        SetupError,
        match=r'committing: the Hub refuses it: Invalid metadata in README\.md.*"license"',
    ):
        publish(hub, release(tmp_path, lake, licence="pddl"))
    assert commits(hub) == 0


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_wrong_marked_token", r"HTTP 401.*no valid token.*publish\.token_env"),
        (READER, r"HTTP 403.*needs write access"),
        ("hf_broken_marked\ntoken", "cannot be sent"),
    ],
)
def test_a_token_that_does_not_do_is_explained_and_never_shown(
    hub: Any, tmp_path: Path, token: str, message: str
) -> None:
    hub.create("dataset", REPO)
    said: list[str] = []
    with pytest.raises(SetupError, match=message) as raised:
        publish(hub, release(tmp_path), token, say=said.append)
    assert_no_trace_of(token.splitlines()[0], raised.value, said)
    assert commits(hub) == 0


def test_a_dataset_that_the_token_may_not_see_is_explained(hub: Any, tmp_path: Path) -> None:
    fail(hub, "GET", r"/api/datasets/acme/cot/tree/", 404, times=9)
    with pytest.raises(SetupError, match=r"HTTP 404.*no such dataset, or the token may not see it"):
        publish(hub, release(tmp_path))


def test_a_hub_out_of_reach_is_told_after_some_tries(hub: Any, tmp_path: Path) -> None:
    with socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            SetupError, match=r"the connection broke off \(ConnectError\); gave up after 2"
        ) as raised:
            publish(hub, release(tmp_path), at=nowhere, attempts=2)
    assert_no_trace_of(TOKEN, raised.value, [])


def test_what_was_damaged_on_the_way_is_noticed(hub: Any, tmp_path: Path) -> None:
    made = release(tmp_path)
    publish(hub, made)
    repo = the_repo(hub)
    tree = repo.commits[repo.branches["main"]].tree
    path = next(path for path in tree if path.endswith(".parquet"))
    (hub.root / "lfs" / tree[path].sha256).write_bytes(bytes(tree[path].size))
    the_repo(hub).commits[repo.branches["main"]].tree.pop("README.md")
    with pytest.raises(SetupError, match=f"reading it back: {path} is not what was sent"):
        publish(hub, made, verify=True)


def assert_no_trace_of(token: str, error: BaseException, said: list[str]) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    for text in (str(error), repr(error), *said):
        assert token not in text
