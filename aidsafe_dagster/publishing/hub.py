"""A release on the Hub: one commit, one tag, read back.

What lies there is compared by content first, so publishing the same release twice makes no commit. A commit names its
parent; when somebody committed meanwhile, ours goes on top of theirs if they left our files alone, and not at all if
they did not. A commit whose answer was lost is found by its content.
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
from aidsafe_dagster.publishing.upload_plan import Head, UploadPlan, content_there, plan_for

_STRICTNESS = ("off", "auto", "manual")


@dataclass(frozen=True)
class Published:
    """What came of a publication."""

    url: str
    commit: str
    tag: str
    tagged: str
    """The commit that the tag names: an earlier one, if these rows were published before under another card."""
    plan: UploadPlan
    """What was sent; empty when nothing had changed."""
    read_back: int
    """Rows that were read back from the Hub and compared."""


class DatasetRepo:
    """One dataset repository on the Hub.

    Raises (all methods):
        SetupError: the Hub refuses, or stays out of reach; says what to do, and never the token.
    """

    def __init__(self, api: HfApi, settings: PublishSettings, log: Callable[[str], None]) -> None:
        self.repo, self.settings, self.log = settings.repo, settings, log
        self._api = api
        self._hub = HubClient(
            settings.repo, api.token if isinstance(api.token, str) else None, settings, log
        )

    @property
    def url(self) -> str:
        return f"{self._api.endpoint}/datasets/{self.repo}"

    def publish(self, release: Release) -> Published:
        """Makes the branch main hold the release, and the tag of its version name it."""
        self._prepare()
        commit, plan = self._commit(release)
        read_back = (
            self._read_back(release, commit) if self.settings.verify and not plan.is_empty else 0
        )
        tag = f"v{release.version}"
        return Published(self.url, commit, tag, self._tag(tag, commit), plan, read_back)

    def head(self) -> Head:
        """What lies there now."""
        return self._hub.patiently("reading what is there", self._head)

    def _head(self) -> Head:
        commit = self._api.dataset_info(self.repo).sha
        assert commit is not None
        tree = self._api.list_repo_tree(
            self.repo, repo_type="dataset", revision=commit, recursive=True
        )
        files = {node.path: content_there(node) for node in tree if isinstance(node, RepoFile)}
        return Head(commit, files)

    def _prepare(self) -> None:
        """Makes the repository if there is none, and gates it before anything is in it. A gate is never loosened."""
        gated = self._hub.patiently("looking for it", self._gated)
        if gated is None:
            self._hub.patiently("making the repository", self._create)
        if _STRICTNESS.index(self.settings.gated) > _STRICTNESS.index(gated or "off"):
            self._hub.patiently("having readers ask for access", self._gate)

    def _gated(self) -> str | None:
        """Who grants access to it; None if there is no such repository."""
        try:
            return str(self._api.dataset_info(self.repo).gated or "off")
        except RepositoryNotFoundError as error:
            if error.response.status_code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _create(self) -> None:
        self._api.create_repo(
            self.repo, repo_type="dataset", private=self.settings.private, exist_ok=True
        )
        self.log(f"{self.repo}: made, {'private' if self.settings.private else 'public'}")

    def _gate(self) -> None:
        assert self.settings.gated != "off"
        self._api.update_repo_settings(self.repo, repo_type="dataset", gated=self.settings.gated)

    def _commit(self, release: Release) -> tuple[str, UploadPlan]:
        """The commit that holds the release, and what it took."""
        head = self.head()
        plan = plan_for(head, release)
        sent = plan
        for tried in count(1):
            if plan.is_empty:
                return head.commit, sent
            try:
                return self._hub.once(partial(self._send, plan, head, release)), plan
            except HubError as failed:
                trouble = failed.trouble
            if trouble.kind != "moved" or tried >= self.settings.attempts:
                time.sleep(self._hub.wait_before_retry("committing", trouble, tried))
            head = self._above(head, release)
            plan = plan_for(head, release)
        raise AssertionError("unreachable: the wait ends it")

    def _send(self, plan: UploadPlan, head: Head, release: Release) -> str:
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(file.path, release.folder / file.path) for file in plan.send),
            *(CommitOperationDelete(path) for path in plan.delete),
        ]
        rows = sum(release.rows.counts.values())
        return self._api.create_commit(
            self.repo,
            operations,
            commit_message=f"Version {release.version}: {rows} rows of {len(release.chosen.batches)} batches",
            repo_type="dataset",
            parent_commit=head.commit,
        ).oid

    def _above(self, before: Head, release: Release) -> Head:
        """The head as it is now, to commit on.

        Raises:
            SetupError: somebody changed the files that are ours.
        """
        now = self.head()
        changed = {path for path, _ in set(before.ours().items()) ^ set(now.ours().items())}
        if changed and not plan_for(now, release).is_empty:
            raise self._hub.error(
                "committing",
                f"somebody changed {', '.join(sorted(changed)[:5])} meanwhile (commit {now.commit[:12]}). Nothing was "
                "committed. Look at that commit, and publish again to replace it",
            )
        if now.commit != before.commit:
            self.log(
                f"{self.repo}: somebody committed {now.commit[:12]} meanwhile; going on from there"
            )
        return now

    def _tag(self, tag: str, commit: str) -> str:
        """Makes the tag if there is none, also one that a crash kept from being made; the commit that it names."""
        there = self._hub.patiently("reading its tags", lambda: self._tags().get(tag))
        if there is None:
            self._hub.patiently(
                "tagging",
                lambda: self._api.create_tag(
                    self.repo, tag=tag, revision=commit, repo_type="dataset", exist_ok=True
                ),
            )
        return there or commit

    def _tags(self) -> dict[str, str]:
        refs = self._api.list_repo_refs(self.repo, repo_type="dataset")
        return {ref.name: ref.target_commit for ref in refs.tags}

    def _read_back(self, release: Release, commit: str) -> int:
        """Downloads the commit, and compares every file's hash and number of rows with what was sent."""
        folder = release.folder.with_name(f".{release.version}-read-back")
        try:
            self._hub.patiently("reading it back", partial(self._download, release, commit, folder))
            return sum(self._compared(release, folder, file) for file in release.files)
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

    def _compared(self, release: Release, folder: Path, file: DataFile) -> int:
        there = folder / file.path
        same = there.exists() and data_file(folder, file.path).sha256 == file.sha256
        rows = _rows_in(there) if same and file.rows is not None else 0
        if not same or rows != (file.rows or 0):
            raise self._hub.error(
                "reading it back", f"{file.path} is not what was sent from {release.folder}"
            )
        return rows


def _rows_in(file: Path) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415 - needed only to publish

    return int(pq.read_table(file).num_rows)
