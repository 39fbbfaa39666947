"""Exact token counts from a model server's `/tokenize`, which vLLM has beside the OpenAI protocol."""

import json
import os
import urllib.request
from collections.abc import Callable
from functools import lru_cache

from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.errors import SetupError


def server_token_count(settings: EndpointSettings) -> Callable[[str], int]:
    """A function from text to its tokens, special tokens left out; one small request a text.

    The function raises SetupError when the server cannot be reached or has no `/tokenize`.
    """
    url = settings.base_url.rstrip("/").removesuffix("/v1") + "/tokenize"
    key = os.environ.get(settings.api_key_env, "")
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )

    @lru_cache(maxsize=10_000)
    def count(text: str) -> int:
        body = json.dumps(
            {"model": settings.model, "prompt": text, "add_special_tokens": False}
        ).encode()
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - an http(s) URL, checked
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
                return int(json.load(reply)["count"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{url}: {type(error).__name__}: {error}; unset endpoint.tokenize to estimate"
            ) from error

    return count
