"""Exact token counts from a model server's `/tokenize`, an addition of vLLM to the protocol."""

import json
import os
import urllib.request
from collections.abc import Callable
from functools import lru_cache

from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.errors import SetupError

_TIMEOUT_S = 30


def server_token_count(settings: EndpointSettings) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text, without special tokens.

    It sends one small request per text. It raises SetupError when the server cannot be reached or
    has no `/tokenize`.
    """
    url = settings.base_url.rstrip("/").removesuffix("/v1") + "/tokenize"
    headers = {"Content-Type": "application/json"}
    key = os.environ.get(settings.api_key_env, "")
    if key:
        headers["Authorization"] = f"Bearer {key}"

    @lru_cache(maxsize=10_000)
    def count(text: str) -> int:
        payload = {"model": settings.model, "prompt": text, "add_special_tokens": False}
        data = json.dumps(payload).encode()
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - an http(s) URL, checked
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                reply = json.load(response)
            return int(reply["count"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{url}: {type(error).__name__}: {error}; unset endpoint.tokenize to estimate"
            ) from error

    return count
