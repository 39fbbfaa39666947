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
    """Name of the environment variable that holds the key; the key itself is in no file. May be unset."""
    timeout_s: float = Field(default=600.0, gt=0)
    """For one call, waiting in the server's queue included."""
    slots: int = Field(default=64, ge=1)
    """Calls that the server can work on at a time."""
    tokenize: bool = False
    """The server has vLLM's `/tokenize`: count tokens with it."""
    priority: bool = False
    """Send a priority with each call, so that started rows go first; the server has to be set up for it."""
    extra_body: Mapping[str, Any] = {}
    """Added to each request's body, for what a server wants beside the standard."""


class EmbeddingSettings(Record):
    model: str = ""
    """Empty: no embeddings. With a base URL the model's name there, else a model or folder of sentence-transformers."""
    base_url: str = ""
    """Up to and including the version, such as 'http://127.0.0.1:8000/v1'; empty: sentence-transformers."""
    api_key_env: str = "AIDSAFE_API_KEY"
    """Name of the environment variable that holds the key. May be unset."""
    texts_per_call: int = Field(default=64, ge=1)
    timeout_s: float = Field(default=120.0, gt=0)
    first_wait_s: float = Field(default=1.0, gt=0)
    """Before a call that failed is made again; doubled each time."""

    def within(self, folder: Path) -> Self:
        """The same with an absolute path, where the model is a folder relative to this one."""
        is_folder = self.model and not self.base_url and (folder / self.model).exists()
        return self.model_copy(update={"model": str(folder / self.model)}) if is_folder else self
