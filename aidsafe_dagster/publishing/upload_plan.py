"""What lies on the Hub against what a release has: what to send, to keep and to delete."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.hf_api import RepoFile

from aidsafe_dagster.publishing.parquet import DataFile
from aidsafe_dagster.publishing.release import CARD, Release

_OURS = re.compile(r"data/(sft|dpo|deliberations)/[^/]+\.parquet")


@dataclass(frozen=True)
class Head:
    """The latest commit of the branch main."""

    commit: str
    files: Mapping[str, str]
    """Path → hash of the content, as `content_there` makes it."""

    def ours(self) -> dict[str, str]:
        return {
            path: content
            for path, content in self.files.items()
            if path == CARD or _OURS.fullmatch(path)
        }


@dataclass(frozen=True)
class UploadPlan:
    """What has to change at a head to make it the release."""

    send: tuple[DataFile, ...]
    keep: tuple[DataFile, ...]
    delete: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.send and not self.delete


def plan_for(head: Head, release: Release) -> UploadPlan:
    """Compares by content; files of others are left alone."""
    files = release.files
    keep = tuple(file for file in files if _is_there(head, release.folder, file))
    wanted = {file.path for file in files}
    return UploadPlan(
        send=tuple(file for file in files if file not in keep),
        keep=keep,
        delete=tuple(sorted(path for path in head.ours() if path not in wanted)),
    )


def _is_there(head: Head, folder: Path, file: DataFile) -> bool:
    there = head.files.get(file.path, "")
    if there.startswith("git:"):
        return there == f"git:{_git_id(folder / file.path)}"
    return there == f"sha256:{file.sha256}"


def content_there(node: RepoFile) -> str:
    """Hash of a file's content there: its own for large files, git's for others."""
    return f"sha256:{node.lfs.sha256}" if node.lfs else f"git:{node.blob_id}"


def _git_id(file: Path) -> str:
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
