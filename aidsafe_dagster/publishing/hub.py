"""Upload a release to the Hub: one commit, one tag, read back.

The remote files are compared by content first, so publishing the same release twice makes no
commit. A commit names its parent. If somebody else committed in the meantime and left our files
alone, ours goes on top of theirs; if they changed our files, nothing is committed. A commit whose
answer was lost is recognised by its content.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import count
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from aidsafe_dagster.publishing.hub_errors import HubClient, HubError
from aidsafe_dagster.publishing.parquet import DataFile, data_file
from aidsafe_dagster.publishing.release import Release
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.publishing.upload_plan import (
    Head,
    UploadPlan,
    make_plan,
    remote_hash,
)

_STRICTNESS = ("off", "auto", "manual")
"""Gating modes, from the loosest to the strictest."""


@dataclass(frozen=True)
class PublishResult:
    """The outcome of a publication."""

    url: str
    commit: str
    tag: str
    tagged_commit: str
    """The tag's commit: an earlier one if the same rows were published under another card."""
    plan: UploadPlan
    """What was sent; empty if nothing had changed."""
    verified_rows: int
    """Rows that were downloaded from the Hub and compared."""


class DatasetRepo:
    """One dataset repository on the Hub.

    Raises (all methods):
        SetupError: the Hub refuses or is unreachable; names the remedy, and never the token.
    """

    def __init__(
        self, api: HfApi, settings: PublishSettings, log: Callable[[str], None]
    ) -> None:
        self.repo, self.settings, self.log = settings.repo, settings, log
        self._api = api
        token = api.token if isinstance(api.token, str) else None
        self._client = HubClient(settings.repo, token, settings, log)

    @property
    def url(self) -> str:
        return f"{self._api.endpoint}/datasets/{self.repo}"

    def publish(self, release: Release) -> PublishResult:
        """Make the branch main hold the release, and tag the commit with its version."""
        self._prepare()
        commit, plan = self._commit(release)
        verified_rows = 0
        if self.settings.verify and not plan.is_empty:
            verified_rows = self._verify(release, commit)
        tag = f"v{release.version}"
        tagged_commit = self._tag(tag, commit)
        return PublishResult(
            url=self.url,
            commit=commit,
            tag=tag,
            tagged_commit=tagged_commit,
            plan=plan,
            verified_rows=verified_rows,
        )

    def head(self) -> Head:
        """Return the latest commit and its files."""
        return self._client.call("reading the repository", self._head)

    def _head(self) -> Head:
        commit = self._api.dataset_info(self.repo).sha
        assert commit is not None
        # The tree of that commit and not of main, which may move between the two requests.
        tree = self._api.list_repo_tree(
            self.repo, repo_type="dataset", revision=commit, recursive=True
        )
        files = {
            node.path: remote_hash(node) for node in tree if isinstance(node, RepoFile)
        }
        return Head(commit, files)

    def _prepare(self) -> None:
        """Create the repository if it is missing, and gate it before it holds any data.

        A gate is tightened if the settings ask for it, and never loosened.
        """
        mode = self._client.call("looking for the repository", self._gating)
        if mode is None:
            self._client.call("creating the repository", self._create)
            mode = "off"
        present = _STRICTNESS.index(mode)
        wanted = _STRICTNESS.index(self.settings.gated)
        if wanted > present:
            self._client.call("gating the repository", self._gate)

    def _gating(self) -> str | None:
        """Return the gating mode, or None if there is no such repository."""
        try:
            return str(self._api.dataset_info(self.repo).gated or "off")
        except RepositoryNotFoundError as error:
            # The client raises the same class for HTTP 401.
            if error.response.status_code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _create(self) -> None:
        private = self.settings.private
        # exist_ok: an earlier attempt may have succeeded although its answer was lost.
        self._api.create_repo(
            self.repo, repo_type="dataset", private=private, exist_ok=True
        )
        visibility = "private" if private else "public"
        self.log(f"{self.repo}: created, {visibility}")

    def _gate(self) -> None:
        assert self.settings.gated != "off"
        self._api.update_repo_settings(
            self.repo, repo_type="dataset", gated=self.settings.gated
        )

    def _commit(self, release: Release) -> tuple[str, UploadPlan]:
        """Return the commit that holds the release, and the changes that led to it."""
        head = self.head()
        plan = make_plan(head, release)
        first_plan = plan
        # No `HubClient.call`: after each failure the plan must be compared with the new head.
        for attempt in count(1):
            # Also true after a commit of ours whose answer was lost.
            if plan.is_empty:
                return head.commit, first_plan
            try:
                commit = self._client.try_once(partial(self._send, plan, head, release))
            except HubError as error:
                failure = error.failure
            else:
                return commit, plan
            # A moved head needs no wait, only a new plan. With the attempts used up, the wait
            # raises, also for a head that moves every time.
            if failure.kind != "moved" or attempt >= self.settings.attempts:
                time.sleep(
                    self._client.wait_before_retry("committing", failure, attempt)
                )
            head = self._newer_head(head, release)
            plan = make_plan(head, release)
        raise AssertionError("unreachable: wait_before_retry raises in the end")

    def _send(self, plan: UploadPlan, head: Head, release: Release) -> str:
        additions = [
            CommitOperationAdd(file.path, release.folder / file.path)
            for file in plan.send
        ]
        deletions = [CommitOperationDelete(path) for path in plan.delete]
        rows = sum(release.rows.counts.values())
        batches = len(release.selection.batches)
        commit = self._api.create_commit(
            self.repo,
            [*additions, *deletions],
            commit_message=f"Version {release.version}: {rows} rows of {batches} batches",
            repo_type="dataset",
            # The Hub refuses the commit with 412 if main has moved since.
            parent_commit=head.commit,
        )
        return commit.oid

    def _newer_head(self, head: Head, release: Release) -> Head:
        """Return the present head, to commit on top of it.

        Raises:
            SetupError: somebody else changed our files.
        """
        newer = self.head()
        differences = head.own_files().items() ^ newer.own_files().items()
        changed = {path for path, _ in differences}
        # Changed files with an empty plan are our own commit, whose answer was lost.
        if changed and not make_plan(newer, release).is_empty:
            files = ", ".join(sorted(changed)[:5])
            raise self._client.error(
                "committing",
                f"somebody else changed {files} in the meantime (commit {newer.commit[:12]}). "
                "Nothing was committed. Look at that commit, and publish again to replace it",
            )
        if newer.commit != head.commit:
            self.log(
                f"{self.repo}: somebody else committed {newer.commit[:12]} in the meantime; "
                "going on from there"
            )
        return newer

    def _tag(self, tag: str, commit: str) -> str:
        """Create the tag unless it exists, and return its commit.

        Called even if nothing was sent: an earlier run may have died between commit and tag.
        """
        tagged_commit = self._client.call("reading the tags", self._tags).get(tag)
        if tagged_commit is not None:
            return tagged_commit
        self._client.call("tagging", partial(self._create_tag, tag, commit))
        return commit

    def _create_tag(self, tag: str, commit: str) -> None:
        # exist_ok: see `_create`.
        self._api.create_tag(
            self.repo, tag=tag, revision=commit, repo_type="dataset", exist_ok=True
        )

    def _tags(self) -> dict[str, str]:
        refs = self._api.list_repo_refs(self.repo, repo_type="dataset")
        return {ref.name: ref.target_commit for ref in refs.tags}

    def _verify(self, release: Release, commit: str) -> int:
        """Download the commit, compare every file with what was sent, and count the rows."""
        folder = release.folder.with_name(f".{release.version}-read-back")
        try:
            self._client.call(
                "reading it back", partial(self._download, release, commit, folder)
            )
            return sum(
                self._verify_file(release, folder, file) for file in release.files
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _download(self, release: Release, commit: str, folder: Path) -> None:
        self._api.snapshot_download(
            self.repo,
            repo_type="dataset",
            revision=commit,
            local_dir=folder,
            allow_patterns=[file.path for file in release.files],
        )

    def _verify_file(self, release: Release, folder: Path, file: DataFile) -> int:
        """Return the rows of a downloaded file after comparing its hash and its row count."""
        copy = folder / file.path
        is_same = False
        if copy.exists():
            is_same = data_file(folder, file.path).sha256 == file.sha256
        rows = expected_rows = 0
        # The card is compared by its hash alone.
        if is_same and file.rows is not None:
            rows = _count_rows(copy)
            expected_rows = file.rows
        if not is_same or rows != expected_rows:
            raise self._client.error(
                "reading it back",
                f"{file.path} is not what was sent from {release.folder}",
            )
        return rows


def _count_rows(file: Path) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415 - needed only to publish

    return int(pq.read_table(file).num_rows)
