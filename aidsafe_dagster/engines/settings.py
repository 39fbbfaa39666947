"""Settings of the endpoint engine and of the embeddings, apart from the clients that use them.

Loading settings must be quick, so this module imports no HTTP client and no numpy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from aidsafe_dagster.recipe.records import Record


class EndpointSettings(Record):
    base_url: str = ""
    """Up to and including the version, such as 'http://127.0.0.1:8000/v1'."""
    model: str = ""
    api_key_env: str = "AIDSAFE_API_KEY"
    """Name of the environment variable that holds the key. No file holds the key itself. May be
    unset."""
    timeout_s: float = Field(default=600.0, gt=0)
    """For one call, including the time in the server's queue."""
    slots: int = Field(default=64, ge=1)
    """Calls that the server can work on at a time."""
    tokenize: bool = False
    """Count tokens with the server's `/tokenize`, which vLLM has."""
    priority: bool = False
    """Send a priority with each call, so that started rows go first. The server has to be set up
    for it."""
    extra_body: Mapping[str, Any] = {}
    """Added to the body of each request, for what a server takes beyond the standard."""


class EmbeddingSettings(Record):
    model: str = ""
    """With a base URL the model's name there, else a model or folder of sentence-transformers.
    Empty: no embeddings."""
    base_url: str = ""
    """Up to and including the version, such as 'http://127.0.0.1:8000/v1'. Empty:
    sentence-transformers."""
    api_key_env: str = "AIDSAFE_API_KEY"
    """Name of the environment variable that holds the key. May be unset."""
    texts_per_call: int = Field(default=64, ge=1)
    timeout_s: float = Field(default=120.0, gt=0)
    first_wait_s: float = Field(default=1.0, gt=0)
    """Wait before a failed call is retried, doubled each time."""

    def within(self, folder: Path) -> Self:
        """Return a copy with an absolute path if the model is a folder relative to this one."""
        path = folder / self.model
        if self.model and not self.base_url and path.exists():
            return self.model_copy(update={"model": str(path)})
        return self
