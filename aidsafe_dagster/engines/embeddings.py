"""Embeddings of texts, from an OpenAI-compatible `/embeddings` endpoint or from sentence-transformers on this machine.

Optional: without a model none are asked for. Decontamination uses them to find paraphrases that share no words.
"""

import logging
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray

from aidsafe_dagster.engines.settings import EmbeddingSettings
from aidsafe_dagster.primitives.retry import exponential_backoff, retry
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_secret

_PASSING = {408, 409, 425, 429}
_ATTEMPTS = 5
_LONGEST_WAIT_S = 30.0
logger = logging.getLogger(__name__)


def embedder(settings: EmbeddingSettings) -> Callable[[Sequence[str]], NDArray[Any]] | None:
    """Turns texts into vectors, of shape (texts, dimensions); None without a model.

    The function raises SetupError when it cannot: a text that was not compared must not count as compared.
    """
    if not settings.model:
        return None
    return _Endpoint(settings).embed if settings.base_url else _Local(settings).embed


class _Local:
    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        size = self._settings.texts_per_call
        vectors = self._model.encode(list(texts), batch_size=size, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float64)

    @cached_property
    def _model(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise SetupError(
                "embeddings: install sentence-transformers to use the model "
                f"'{self._settings.model}' on this machine, or set embeddings.base_url"
            ) from error
        try:
            return SentenceTransformer(self._settings.model, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise SetupError(
                f"embeddings.model: '{self._settings.model}' cannot be loaded: {error}"
            ) from error


class _Unavailable(Exception):
    """The server did not answer well, and may if it is asked again."""


class _Endpoint:
    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._key = os.environ.get(settings.api_key_env, "")

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        with httpx2.Client(timeout=self._settings.timeout_s, headers=headers) as client:
            size = self._settings.texts_per_call
            blocks = [
                self._block(client, texts[start : start + size])
                for start in range(0, len(texts), size)
            ]
        if len({len(vector) for block in blocks for vector in block}) > 1:
            raise SetupError(f"{self._url}: the embeddings are of different lengths")
        return np.asarray([vector for block in blocks for vector in block], dtype=np.float64)

    @property
    def _url(self) -> str:
        return self._settings.base_url.rstrip("/") + "/embeddings"

    def _block(self, client: httpx2.Client, texts: Sequence[str]) -> list[list[float]]:
        return retry(lambda: self._request(client, texts), _Unavailable, self._wait_before_retry)

    def _request(self, client: httpx2.Client, texts: Sequence[str]) -> list[list[float]]:
        body = {"model": self._settings.model, "input": list(texts)}
        try:
            reply = client.post(self._url, json=body)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _Unavailable(type(error).__name__) from error
        if reply.status_code == 200:
            return self._vectors(reply, len(texts))
        # Masked before it is cut: a key cut in two would not be found.
        reason = f"HTTP {reply.status_code}: {self._redacted(reply.text)[:300]}"
        if reply.status_code in _PASSING or reply.status_code >= 500:
            raise _Unavailable(reason)
        raise self._error(reason)

    def _wait_before_retry(self, error: Exception, failed_attempts: int) -> float:
        if failed_attempts >= _ATTEMPTS:
            raise self._error(str(error))
        wait_s = exponential_backoff(failed_attempts, self._settings.first_wait_s, _LONGEST_WAIT_S)
        reason = self._redacted(str(error))
        logger.warning("%s: %s; asking again in %.0f s", self._url, reason, wait_s)
        return wait_s

    def _error(self, reason: str) -> SetupError:
        return SetupError(self._redacted(f"{self._url}, model '{self._settings.model}': {reason}"))

    def _vectors(self, reply: httpx2.Response, count: int) -> list[list[float]]:
        """In the order of the texts, whatever the order of the reply."""
        try:
            data = sorted(reply.json()["data"], key=lambda item: item["index"])
            vectors = [[float(value) for value in item["embedding"]] for item in data]
        except (ValueError, LookupError, TypeError) as error:
            raise SetupError(
                f"{self._url}: the reply holds no embeddings ({type(error).__name__})"
            ) from error
        if len(vectors) != count or not all(vectors):
            raise SetupError(f"{self._url}: {len(vectors)} embeddings for {count} texts")
        return vectors

    def _redacted(self, text: str) -> str:
        return mask_secret(text, self._key)
