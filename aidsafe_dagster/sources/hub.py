"""Download the files of one commit of a Hugging Face dataset to the local cache.

A branch or tag is resolved to a commit first, and the commit is recorded. Some errors of the client
repeat the request's headers, and with them the token, so no message quotes such an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.matching import matching_names
from aidsafe_dagster.sources.source import FileOrDataset


@dataclass(frozen=True)
class HubFile:
    name: str
    """Path inside the dataset."""
    path: Path
    """The downloaded copy."""


@dataclass(frozen=True)
class HubDataset:
    """Files of a dataset, ordered by name, at the commit `revision` (40 hex digits)."""

    revision: str
    files: tuple[HubFile, ...]


def download(spec: FileOrDataset, access: HubAccess) -> HubDataset:
    """Download the files that match the glob, unless they are in the cache.

    Raises:
        SetupError: no such dataset, revision or file, no access, or no connection; names the
            remedy.
    """
    dataset = spec.dataset or ""
    api = HfApi(endpoint=access.endpoint, token=access.token)
    files = []
    with _hub_errors_explained(spec):
        info = api.dataset_info(dataset, revision=spec.revision)
        # All files come from this commit, even if the branch moves during the download.
        revision = info.sha or spec.revision
        names = [sibling.rfilename for sibling in info.siblings or ()]
        for name in matching_names(spec, names):
            path = api.hf_hub_download(
                dataset,
                name,
                repo_type="dataset",
                revision=revision,
                cache_dir=access.cache,
            )
            files.append(HubFile(name, Path(path)))
    return HubDataset(revision, tuple(files))


def _place(spec: FileOrDataset) -> str:
    return f"{spec}: dataset '{spec.dataset}'"


@contextmanager
def _hub_errors_explained(spec: FileOrDataset) -> Iterator[None]:
    try:
        yield
    except (HTTPError, HFValidationError, EntryNotFoundError, OSError) as error:
        # Without the cause: the client's error may hold the token.
        raise SetupError(f"{_place(spec)}: {_advice(spec, error)}") from None


def _advice(spec: FileOrDataset, error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, HfHubHTTPError):
        return _advice_on_status(spec, error)
    if isinstance(error, HFValidationError):
        return "not a valid id. Expected '<owner>/<dataset>'"
    if isinstance(error, LocalEntryNotFoundError | HTTPError | ConnectionError):
        return (
            f"the Hub cannot be reached ({kind}). "
            "Check the network, the endpoint, the token and offline mode"
        )
    return (
        f"the download failed ({kind}). Check the cache folder and its free disk space"
    )


def _advice_on_status(spec: FileOrDataset, error: HfHubHTTPError) -> str:
    status = error.response.status_code
    # Subclasses before their base class: a gated repository is also one that was not found.
    if isinstance(error, GatedRepoError):
        return "it is gated. Accept its terms on the Hub, and use a token of the same account"
    if isinstance(error, RevisionNotFoundError):
        return f"there is no revision '{spec.revision}'. Use a branch, a tag or a full commit id"
    if isinstance(error, RepositoryNotFoundError):
        return "not found, or private. Check the id, and that the token may read it"
    if status in (401, 403):
        return f"access refused (HTTP {status}). Check that the token is valid and may read it"
    return f"the Hub answered with HTTP {status}. Try again later"
