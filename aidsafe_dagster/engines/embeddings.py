"""Embeddings of texts, from an OpenAI-compatible `/embeddings` endpoint or sentence-transformers.

They are optional. Decontamination uses them to find paraphrases that share no words.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray

from aidsafe_dagster.engines.api_key import bearer_header, read_api_key
from aidsafe_dagster.engines.proxies import proxy_for
from aidsafe_dagster.engines.reply_body import MIB, ReplyTooLarge
from aidsafe_dagster.engines.settings import EmbeddingSettings
from aidsafe_dagster.primitives.retry import exponential_backoff, retry
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_secret

_TRANSIENT = {408, 409, 425, 429}
_MAX_ATTEMPTS = 5
_MAX_BACKOFF_S = 30.0
_MAX_DETAIL = 300
"""Characters of a server's error message that are shown."""
_UNREADABLE = (ValueError, LookupError, TypeError, OverflowError, RecursionError)
"""What reading a reply raises that has no embeddings in it."""
logger = logging.getLogger(__name__)


def embedder(
    settings: EmbeddingSettings,
) -> Callable[[Sequence[str]], NDArray[Any]] | None:
    """Return a function from texts to vectors of shape (texts, dimensions). None without a model.

    The function raises SetupError when it cannot embed a text, since a text that was not compared
    must not count as compared.
    """
    if not settings.model:
        return None
    if settings.base_url:
        return _Endpoint(settings).embed
    return _LocalModel(settings).embed


class _LocalModel:
    """A model of sentence-transformers on this machine."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        size = self._settings.texts_per_call
        vectors = self._model.encode(
            list(texts), batch_size=size, show_progress_bar=False
        )
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
            # A model's repository may hold code, which would run with all rights of this process.
            return SentenceTransformer(self._settings.model, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise SetupError(
                f"embeddings.model: '{self._settings.model}' cannot be loaded: {error}"
            ) from error


class _Unavailable(Exception):
    """The server did not answer well, and may if it is asked again."""


class _Endpoint:
    """A server with an OpenAI-compatible `/embeddings`."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._url = settings.base_url.rstrip("/") + "/embeddings"
        self._key = read_api_key(settings.api_key_env)
        self._proxy = proxy_for(settings.base_url)

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        headers = bearer_header(self._key)
        # With a transport of its own, the client chooses no proxy by itself.
        transport = httpx2.HTTPTransport(proxy=self._proxy)
        timeout = self._settings.timeout_s
        size = self._settings.texts_per_call
        vectors: list[list[float]] = []
        with httpx2.Client(
            timeout=timeout, headers=headers, transport=transport
        ) as client:
            for start in range(0, len(texts), size):
                block = texts[start : start + size]
                vectors += self._embed_block(client, block)
        # Servers behind one address may serve different models under the same name.
        lengths = set(map(len, vectors))
        if len(lengths) > 1:
            raise SetupError(f"{self._url}: the embeddings are of different lengths")
        return np.asarray(vectors, dtype=np.float64)

    def _embed_block(
        self, client: httpx2.Client, texts: Sequence[str]
    ) -> list[list[float]]:
        return retry(
            lambda: self._request(client, texts), _Unavailable, self._wait_before_retry
        )

    def _request(
        self, client: httpx2.Client, texts: Sequence[str]
    ) -> list[list[float]]:
        payload = {"model": self._settings.model, "input": list(texts)}
        try:
            with client.stream("POST", self._url, json=payload) as response:
                status = response.status_code
                body = self._read(response)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _Unavailable(type(error).__name__) from error
        if status == 200:
            return self._vectors(body, len(texts))
        # Mask before cutting: a key that is cut in two is not recognized.
        reason = self._mask_key(body.decode("utf-8", "replace"))[:_MAX_DETAIL]
        detail = f"HTTP {status}: {reason}"
        if status in _TRANSIENT or status >= 500:
            raise _Unavailable(detail)
        raise self._error(detail)

    def _read(self, response: httpx2.Response) -> bytes:
        """Return the body of a reply, decompressed.

        Raises:
            SetupError: it is larger than the settings allow.
        """
        limit = self._settings.max_reply_mib * MIB
        # The client's own timeout begins anew with every piece.
        deadline = time.monotonic() + self._settings.timeout_s
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > limit:
                raise self._error(str(ReplyTooLarge(limit)))
            if time.monotonic() > deadline:
                raise _Unavailable("the reply does not end")
        return bytes(body)

    def _wait_before_retry(self, error: Exception, failed_attempts: int) -> float:
        if failed_attempts >= _MAX_ATTEMPTS:
            raise self._error(str(error))
        wait_s = exponential_backoff(
            failed_attempts, self._settings.first_wait_s, _MAX_BACKOFF_S
        )
        detail = self._mask_key(str(error))
        logger.warning("%s: %s; retrying in %.0f s", self._url, detail, wait_s)
        return wait_s

    def _error(self, detail: str) -> SetupError:
        message = f"{self._url}, model '{self._settings.model}': {detail}"
        return SetupError(self._mask_key(message))

    def _vectors(self, body: bytes, count: int) -> list[list[float]]:
        """Return the vectors in the order of the texts, whatever the order of the response."""
        try:
            reply = json.loads(body)
            items = sorted(reply["data"], key=lambda item: item["index"])
            vectors = [list(map(float, item["embedding"])) for item in items]
        except _UNREADABLE as error:
            raise SetupError(
                f"{self._url}: the reply holds no embeddings ({type(error).__name__})"
            ) from error
        if not all(math.isfinite(number) for vector in vectors for number in vector):
            raise SetupError(f"{self._url}: the embeddings hold what is no number")
        if len(vectors) != count or not all(vectors):
            raise SetupError(
                f"{self._url}: {len(vectors)} embeddings for {count} texts"
            )
        return vectors

    def _mask_key(self, text: str) -> str:
        return mask_secret(text, self._key)
