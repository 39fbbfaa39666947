"""Publishing to a Hub: one commit, one tag, and failures of the Hub, the network and others."""

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
    a_proxy,
    commits,
    fail,
    files_there,
    someone_commits,
    the_repo,
)
from tests.publishing.lakes import a_filled_lake, all_batches, fill, publish_settings
from tests.publishing.test_release import count_rows, read_by_datasets

Log = Callable[[str], None]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Any]:
    with a_hub(tmp_path) as loopback_hub:
        yield loopback_hub


def a_release(folder: Path, lake: Lake | None = None, **settings: Any) -> Release:
    filled = lake or a_filled_lake(folder, "demo-0001")
    context = CardContext(publish_settings(**settings), policies())
    return make_release(filled, all_batches(filled), context, folder)


def publish(
    hub: Any,
    release: Release,
    token: str = TOKEN,
    at: str = "",
    log: Log = lambda _: None,
    **settings: Any,
) -> PublishResult:
    api = HfApi(endpoint=at or hub.base, token=token)
    values = {"verify": False} | settings
    return DatasetRepo(api, publish_settings(**values), log).publish(release)


def first_commit() -> Callable[[str, str], bool]:
    """Return a predicate that is true for the first request that commits."""
    firsts = iter([True])

    def is_first_commit(method: str, path: str) -> bool:
        return method == "POST" and "/commit/" in path and next(firsts, False)

    return is_first_commit


def test_a_release_is_one_commit_with_card_and_data_and_a_tag(
    hub: Any, tmp_path: Path
) -> None:
    release = a_release(tmp_path)
    published = publish(hub, release, verify=True)
    repo = the_repo(hub)
    assert commits(hub) == 1
    assert repo.tags == {f"v{release.version}": published.commit}
    assert repo.tags == {published.tag: published.tagged_commit}
    files = files_there(hub)
    # The Hub adds this file itself.
    files.pop(".gitattributes")
    contents = {
        file.path: (release.folder / file.path).read_bytes() for file in release.files
    }
    assert files == contents
    assert published.verified_rows == sum(release.rows.counts.values())
    assert published.url == f"{hub.base}/datasets/{REPO}"


def test_publishing_again_makes_no_commit_and_sends_nothing(
    hub: Any, tmp_path: Path
) -> None:
    release = a_release(tmp_path)
    first = publish(hub, release)
    requests_before = len(hub.log)
    again = publish(hub, release)
    assert (again.commit, again.plan.is_empty, commits(hub)) == (first.commit, True, 1)
    assert {entry["method"] for entry in hub.log[requests_before:]} == {"GET"}


def test_datasets_loads_it_from_the_hub(hub: Any, tmp_path: Path) -> None:
    release = a_release(tmp_path)
    publish(hub, release)
    contents = read_by_datasets(
        REPO, tmp_path / "cache", HF_ENDPOINT=hub.base, HF_TOKEN=TOKEN
    )
    assert count_rows(contents) == release.rows.counts


def test_a_new_batch_is_a_second_commit_that_sends_what_changed(
    hub: Any, tmp_path: Path
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    first = publish(hub, a_release(tmp_path, lake))
    fill(lake, "demo-0002", prompts=1)
    release = a_release(tmp_path, lake)
    second = publish(hub, release)
    assert commits(hub) == 2
    assert set(the_repo(hub).tags) == {first.tag, second.tag}
    # A prompt is in one split, so that two files of each config stay as they are.
    (split,) = {
        file.path.split("/")[2].partition("-")[0]
        for file in second.plan.send
        if file.path != "README.md"
    }
    kept = {file.path.split("/")[2].partition("-")[0] for file in second.plan.keep}
    assert split not in kept
    assert {file.path for file in second.plan.send} >= {"README.md"}


def test_obsolete_files_of_ours_are_deleted_and_files_of_others_stay(
    hub: Any, tmp_path: Path
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    publish(hub, a_release(tmp_path, lake))
    someone_commits(hub, LICENSE=b"terms")
    published = publish(hub, a_release(tmp_path, lake, configs=("sft",)))
    assert {path.split("/")[1] for path in published.plan.delete} == {
        "dpo",
        "deliberations",
    }
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
    publish(hub, a_release(tmp_path))
    assert (the_repo(hub).private, the_repo(hub).gated) == (True, "auto")
    writes = [entry["path"] for entry in hub.log if entry["method"] in ("POST", "PUT")]
    order = [path.rpartition("/")[2] for path in writes]
    assert order.index("settings") < order.index("validate-yaml")


@pytest.mark.parametrize(
    ("existing", "requested", "expected"),
    [
        (False, "manual", "manual"),
        ("manual", "auto", "manual"),
        ("auto", "off", "auto"),
        (False, "off", False),
    ],
)
def test_a_gate_is_never_loosened(
    hub: Any, tmp_path: Path, existing: Any, requested: str, expected: Any
) -> None:
    repo = hub.create("dataset", REPO)
    repo.gated = existing
    publish(hub, a_release(tmp_path), gated=requested)
    assert (repo.gated, repo.private) == (expected, False)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_commit_is_retried_while_the_hub_is_busy(
    hub: Any, tmp_path: Path, status: int
) -> None:
    fail(hub, "POST", "/commit/", status, times=2)
    messages: list[str] = []
    publish(hub, a_release(tmp_path), log=messages.append)
    assert commits(hub) == 1
    assert [
        message
        for message in messages
        if "committing" in message and "try 3 of 6" in message
    ]


def test_retry_after_replaces_our_own_backoff(hub: Any, tmp_path: Path) -> None:
    fail(hub, "POST", "/commit/", 429, retry_after="0")
    messages: list[str] = []
    publish(hub, a_release(tmp_path), log=messages.append, wait_s=100)
    assert [
        message
        for message in messages
        if "limits the rate; try 2 of 6 in 0.0 s" in message
    ]


def test_a_retry_after_above_the_limit_is_an_error(hub: Any, tmp_path: Path) -> None:
    fail(hub, "POST", "/commit/", 429, retry_after="3600")
    with pytest.raises(
        SetupError, match=r"committing: the Hub limits the rate and asks to wait 3600 s"
    ):
        publish(hub, a_release(tmp_path))


def test_retries_end_after_the_attempts_of_the_settings(
    hub: Any, tmp_path: Path
) -> None:
    fail(hub, "POST", "/commit/", 502, times=99)
    with pytest.raises(
        SetupError, match=r"in trouble \(HTTP 502\); gave up after 3 tries"
    ):
        publish(hub, a_release(tmp_path), attempts=3)
    assert commits(hub) == 0
    hub.faults.clear()
    publish(hub, a_release(tmp_path))
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
def test_every_step_is_retried(
    hub: Any, tmp_path: Path, method: str, path: str
) -> None:
    fail(hub, method, path, 503)
    release = a_release(tmp_path)
    published = publish(hub, release)
    assert (commits(hub), the_repo(hub).tags) == (1, {published.tag: published.commit})


def test_a_lost_upload_is_sent_again(hub: Any, tmp_path: Path) -> None:
    is_first_commit = first_commit()

    def lose_upload(method: str, path: str) -> bool:
        if is_first_commit(method, path):
            shutil.rmtree(hub.root / "cas")
        return False

    messages: list[str] = []
    release = a_release(tmp_path)
    with a_proxy(hub, lose_upload) as url:
        published = publish(hub, release, at=url, log=messages.append, verify=True)
    assert published.verified_rows == sum(release.rows.counts.values())
    assert [message for message in messages if "a file did not arrive whole" in message]


def test_a_commit_whose_answer_was_lost_is_not_repeated(
    hub: Any, tmp_path: Path
) -> None:
    release = a_release(tmp_path)
    with a_proxy(hub, first_commit()) as url:
        published = publish(hub, release, at=url)
    assert commits(hub) == 1
    assert published.commit == the_repo(hub).branches["main"]
    assert not published.plan.is_empty


def test_a_tag_that_is_missing_after_a_crash_is_created_by_the_next_run(
    hub: Any, tmp_path: Path
) -> None:
    release = a_release(tmp_path)
    fail(hub, "POST", "/tag/", 500, times=99)
    with pytest.raises(SetupError, match="tagging"):
        publish(hub, release, attempts=2)
    hub.faults.clear()
    assert (commits(hub), the_repo(hub).tags) == (1, {})
    published = publish(hub, release)
    assert (commits(hub), the_repo(hub).tags) == (1, {published.tag: published.commit})


def test_a_changed_card_leaves_the_tag_of_the_same_rows_in_place(
    hub: Any, tmp_path: Path
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    first = publish(hub, a_release(tmp_path, lake))
    second = publish(hub, a_release(tmp_path, lake, pretty_name="Another name"))
    assert [file.path for file in second.plan.send] == ["README.md"]
    assert (second.tag, second.tagged_commit) == (first.tag, first.commit)
    assert second.commit != first.commit


def commits_first(hub: Any, **files: bytes) -> Callable[[str, str], bool]:
    """Have somebody else commit just before our first commit arrives."""
    is_first_commit = first_commit()

    def hook(method: str, path: str) -> bool:
        if is_first_commit(method, path):
            someone_commits(hub, **files)
        return False

    return hook


def test_our_commit_goes_on_top_of_one_to_other_files(hub: Any, tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    publish(hub, a_release(tmp_path, lake))
    fill(lake, "demo-0002")
    release, messages = a_release(tmp_path, lake), list[str]()
    with a_proxy(hub, commits_first(hub, LICENSE=b"terms")) as url:
        publish(hub, release, at=url, log=messages.append)
    assert commits(hub) == 3
    assert files_there(hub)["LICENSE"] == b"terms"
    assert files_there(hub)["README.md"] == release.card.encode()
    assert [
        message
        for message in messages
        if "somebody else committed" in message and "going on from there" in message
    ]


def test_a_commit_of_somebody_else_to_our_files_is_not_overwritten(
    hub: Any, tmp_path: Path
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    publish(hub, a_release(tmp_path, lake))
    fill(lake, "demo-0002")
    with (
        a_proxy(hub, commits_first(hub, README_md=b"mine now")) as url,
        pytest.raises(
            SetupError,
            match=r"somebody else changed README\.md in the meantime .*Nothing was committed",
        ),
    ):
        publish(hub, a_release(tmp_path, lake), at=url)
    assert commits(hub) == 2
    assert files_there(hub)["README.md"] == b"mine now"


def test_the_error_of_a_refused_card_quotes_the_hub(hub: Any, tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001", licence="cc0-1.0")
    with pytest.raises(
        SetupError,
        match=r'committing: the Hub refuses it: Invalid metadata in README\.md.*"license"',
    ):
        publish(hub, a_release(tmp_path, lake, licence="pddl"))
    assert commits(hub) == 0


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_wrong_marked_token", r"HTTP 401.*no valid token.*publish\.token_env"),
        (READER, r"HTTP 403.*needs write access"),
        ("hf_broken_marked\ntoken", "cannot be sent"),
    ],
)
def test_the_error_of_a_bad_token_explains_it_and_never_shows_it(
    hub: Any, tmp_path: Path, token: str, message: str
) -> None:
    hub.create("dataset", REPO)
    messages: list[str] = []
    with pytest.raises(SetupError, match=message) as raised:
        publish(hub, a_release(tmp_path), token, log=messages.append)
    assert_no_trace_of(token.splitlines()[0], raised.value, messages)
    assert commits(hub) == 0


def test_the_error_of_a_hidden_dataset_explains_it(hub: Any, tmp_path: Path) -> None:
    fail(hub, "GET", r"/api/datasets/acme/cot/tree/", 404, times=9)
    with pytest.raises(
        SetupError, match=r"HTTP 404.*no such dataset, or the token may not see it"
    ):
        publish(hub, a_release(tmp_path))


def test_an_unreachable_hub_is_an_error_after_all_attempts(
    hub: Any, tmp_path: Path
) -> None:
    with socket() as unused:
        unused.bind(
            ("127.0.0.1", 0)
        )  # bound but not listening: connections are refused
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            SetupError,
            match=r"the connection broke off \(ConnectError\); gave up after 2",
        ) as raised:
            publish(hub, a_release(tmp_path), at=nowhere, attempts=2)
    assert_no_trace_of(TOKEN, raised.value, [])


def test_verification_finds_damaged_files(hub: Any, tmp_path: Path) -> None:
    release = a_release(tmp_path)
    publish(hub, release)
    repo = the_repo(hub)
    tree = repo.commits[repo.branches["main"]].tree
    path = next(path for path in tree if path.endswith(".parquet"))
    (hub.root / "lfs" / tree[path].sha256).write_bytes(bytes(tree[path].size))
    the_repo(hub).commits[repo.branches["main"]].tree.pop("README.md")
    with pytest.raises(
        SetupError, match=f"reading it back: {path} is not what was sent"
    ):
        publish(hub, release, verify=True)


def assert_no_trace_of(token: str, error: BaseException, messages: list[str]) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    for text in (str(error), repr(error), *messages):
        assert token not in text
