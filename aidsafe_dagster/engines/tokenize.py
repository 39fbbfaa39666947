"""Exact token counts from a model server's `/tokenize`, which vLLM and llama.cpp have.

The two differ in what they take and give: `{"prompt"}` → `{"count"}` with vLLM, `{"content"}` →
`{"tokens": […]}` with llama.cpp. The first text tells which of them a server is: llama.cpp takes
vLLM's request for an empty text and counts nothing.
"""

import json
import urllib.request
from collections.abc import Callable, Mapping
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from aidsafe_dagster.engines.api_key import bearer_header, read_api_key
from aidsafe_dagster.engines.proxies import proxy_for
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_secret

_TIMEOUT_S = 30
_MAX_BYTES = 8 * 2**20
"""Of a reply. llama.cpp sends the number of every token."""
_ERRORS = (
    OSError,
    HTTPException,
    ValueError,
    OverflowError,
    KeyError,
    TypeError,
    RecursionError,
)
"""No connection, no HTTP, or a reply of another form."""
_REFUSED = (400, 404, 405, 415, 422)
"""What a server answers that does not know the dialect, or has no such route."""


def server_token_count(settings: ServerSettings) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text, without special tokens.

    It sends one small request per text. It raises SetupError when the server cannot be reached or
    has no `/tokenize` of either kind.
    """
    server = _Tokenizer(settings)
    return lru_cache(maxsize=10_000)(server.count)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the text, and the key, to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Tokenizer:
    def __init__(self, settings: ServerSettings) -> None:
        self._model = settings.model
        base_url = settings.base_url.rstrip("/")
        self._url = base_url.removesuffix("/v1") + "/tokenize"
        self._key = read_api_key(settings.api_key_env)
        proxy = proxy_for(self._url)
        proxies = {self._url.partition(":")[0]: proxy} if proxy else {}
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), _NoRedirects
        )
        self._ask: Callable[[str], int] | None = None

    def count(self, text: str) -> int:
        try:
            if self._ask is None:
                return self._count_first(text)
            return self._ask(text)
        except _ERRORS as error:
            detail = mask_secret(f"{type(error).__name__}: {error}", self._key)
            raise SetupError(
                f"{self._url}: {detail}; unset endpoint.tokenize to estimate"
            ) from error

    def _count_first(self, text: str) -> int:
        """Count the tokens of the first text, and note the dialect that the server speaks."""
        tokens = None
        try:
            tokens = self._ask_vllm(text)
            self._ask = self._ask_vllm
        except HTTPError as error:
            if error.code not in _REFUSED:
                raise
            error.close()
        except KeyError:
            pass
        if tokens is None:
            tokens = self._ask_llamacpp(text)
            self._ask = self._ask_llamacpp
        return tokens

    def _ask_vllm(self, text: str) -> int:
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        return int(self._post(body)["count"])

    def _ask_llamacpp(self, text: str) -> int:
        body = {"content": text, "add_special": False}
        tokens = self._post(body)["tokens"]
        if not isinstance(tokens, list):
            raise TypeError("'tokens' is no list")
        return len(tokens)

    def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", **bearer_header(self._key)}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self._url, data=data, headers=headers)  # noqa: S310 - an http(s) URL, checked
        with self._opener.open(request, timeout=_TIMEOUT_S) as response:
            content = response.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"the reply is larger than {_MAX_BYTES:,} bytes")
        reply = json.loads(content)
        if not isinstance(reply, dict):
            raise TypeError("the reply is no object")
        return reply
