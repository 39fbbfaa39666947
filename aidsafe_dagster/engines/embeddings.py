"""Embeddings of texts, from an OpenAI-compatible `/embeddings` endpoint or sentence-transformers.

They are optional. Decontamination uses them to find paraphrases that share no words.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray

from aidsafe_dagster.engines.settings import EmbeddingSettings
from aidsafe_dagster.recipe.errors import SetupError

_TRANSIENT = {408, 409, 425, 429}
_MAX_ATTEMPTS = 5
_MAX_BACKOFF_S = 30.0
_MAX_DETAIL = 300  # characters of a server's error message
logger = logging.getLogger(__name__)


def embedder(settings: EmbeddingSettings) -> Callable[[Sequence[str]], NDArray[Any]] | None:
    """Return a function from texts to vectors of shape (texts, dimensions). None without a model.

    The function raises SetupError when it cannot embed a text, since a text that was not compared
    must not count as compared.
    """
    if not settings.model:
        return None
    return _Endpoint(settings).embed if settings.base_url else _LocalModel(settings).embed


class _LocalModel:
    """A model of sentence-transformers on this machine."""

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


class _Endpoint:
    """A server with an OpenAI-compatible `/embeddings`."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._url = settings.base_url.rstrip("/") + "/embeddings"
        self._key = os.environ.get(settings.api_key_env, "")

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = self._settings.timeout_s
        size = self._settings.texts_per_call
        vectors: list[list[float]] = []
        with httpx2.Client(timeout=timeout, headers=headers) as client:
            for start in range(0, len(texts), size):
                block = texts[start : start + size]
                vectors += self._embed_block(client, block)
        dimensions = {len(vector) for vector in vectors}
        if len(dimensions) > 1:
            raise SetupError(f"{self._url}: the embeddings are of different lengths")
        return np.asarray(vectors, dtype=np.float64)

    def _embed_block(self, client: httpx2.Client, texts: Sequence[str]) -> list[list[float]]:
        payload = {"model": self._settings.model, "input": list(texts)}
        detail = ""
        for attempt in range(_MAX_ATTEMPTS):
            if attempt:
                self._back_off(attempt, detail)
            try:
                response = client.post(self._url, json=payload)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                detail = type(error).__name__
                continue
            status = response.status_code
            if status == 200:
                return self._vectors(response, len(texts))
            # Mask before cutting: a key that is cut in two is not recognized.
            detail = f"HTTP {status}: {self._mask_key(response.text)[:_MAX_DETAIL]}"
            if status not in _TRANSIENT and status < 500:
                break
        raise SetupError(self._mask_key(f"{self._url}, model '{self._settings.model}': {detail}"))

    def _back_off(self, attempt: int, detail: str) -> None:
        doubled_s = self._settings.first_wait_s * 2 ** (attempt - 1)
        wait_s = min(doubled_s, _MAX_BACKOFF_S)
        logger.warning("%s: %s; retrying in %.0f s", self._url, self._mask_key(detail), wait_s)
        time.sleep(wait_s)

    def _vectors(self, response: httpx2.Response, count: int) -> list[list[float]]:
        """Return the vectors in the order of the texts, whatever the order of the response."""
        try:
            data = response.json()["data"]
            data = sorted(data, key=lambda item: item["index"])
            vectors = [list(map(float, item["embedding"])) for item in data]
        except (ValueError, LookupError, TypeError) as error:
            raise SetupError(
                f"{self._url}: the reply holds no embeddings ({type(error).__name__})"
            ) from error
        if len(vectors) != count or not all(vectors):
            raise SetupError(f"{self._url}: {len(vectors)} embeddings for {count} texts")
        return vectors

    def _mask_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
