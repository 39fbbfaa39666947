"""Compare a release with the files on the Hub: what to send, to keep and to delete."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.hf_api import RepoFile

from aidsafe_dagster.publishing.parquet import DataFile
from aidsafe_dagster.publishing.release import CARD, Release

_OWN_DATA = re.compile(r"data/(sft|dpo|deliberations)/[^/]+\.parquet")


@dataclass(frozen=True)
class Head:
    """The latest commit of the branch main."""

    commit: str
    files: Mapping[str, str]
    """Path → hash of the content, as `remote_hash` gives it."""

    def own_files(self) -> dict[str, str]:
        """Return the files that a release writes; all others belong to somebody else."""
        return {
            path: content
            for path, content in self.files.items()
            if path == CARD or _OWN_DATA.fullmatch(path)
        }


@dataclass(frozen=True)
class UploadPlan:
    """The changes that turn a head into the release."""

    send: tuple[DataFile, ...]
    keep: tuple[DataFile, ...]
    delete: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.send and not self.delete


def make_plan(head: Head, release: Release) -> UploadPlan:
    """Compare by content; files of others are left alone."""
    send, keep = [], []
    files = release.files
    for file in files:
        if _is_unchanged(head, release.folder, file):
            keep.append(file)
        else:
            send.append(file)
    paths = {file.path for file in files}
    obsolete = head.own_files().keys() - paths
    return UploadPlan(
        send=tuple(send),
        keep=tuple(keep),
        delete=tuple(sorted(obsolete)),
    )


def remote_hash(node: RepoFile) -> str:
    """Return the hash that the Hub knows: SHA-256 for large files, git's blob id for others."""
    if node.lfs:
        return f"sha256:{node.lfs.sha256}"
    return f"git:{node.blob_id}"


def _is_unchanged(head: Head, folder: Path, file: DataFile) -> bool:
    remote = head.files.get(file.path, "")
    # The Hub decides by size and type which of the two hashes a file has.
    if remote.startswith("git:"):
        blob_id = _git_blob_id(folder / file.path)
        return remote == f"git:{blob_id}"
    return remote == f"sha256:{file.sha256}"


def _git_blob_id(file: Path) -> str:
    data = file.read_bytes()
    # Git's own definition of a blob id.
    digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()
