"""What a model server says about itself, asked without a model having to answer.

Servers differ in what they tell and in where, so whatever cannot be found out is unknown, and never
an error.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiohttp

from aidsafe_dagster.engines.http_session import open_session
from aidsafe_dagster.engines.reply_body import (
    MAX_STATUS_BYTES,
    ReplyTooLarge,
    read_body,
)
from aidsafe_dagster.engines.settings import ServerSettings

_TIMEOUT_S = 10
_LENGTH_FIELDS = (
    "max_model_len",  # vLLM
    "context_length",  # OpenRouter, Together
    "context_window",  # Groq
    "max_context_length",  # Mistral
    "max_input_tokens",  # LiteLLM
)
_ERRORS = (
    aiohttp.ClientError,
    TimeoutError,
    OSError,
    ReplyTooLarge,
    # Not JSON, or nested without end.
    ValueError,
    RecursionError,
)


async def context_length(settings: ServerSettings) -> int | None:
    """Return the tokens that prompt and answer may take together on a server; None if unknown.

    A length in the settings stands. Otherwise the server is asked: `/v1/models`, and llama.cpp's
    `/props`, whose slots may be shorter than what the model was trained on.

    Raises:
        SetupError: the key cannot be one, or the proxy is of a kind that is not supported.
    """
    if settings.context_length:
        return settings.context_length
    if not settings.base_url:
        return None
    base_url = settings.base_url.rstrip("/")
    root_url = base_url.removesuffix("/v1")
    async with open_session(settings, _TIMEOUT_S) as session:
        models = await _json(session, f"{base_url}/models")
        props = await _json(session, f"{root_url}/props")
    return stated_length(models, props, settings.model)


def stated_length(models: Any, props: Any, name: str) -> int | None:
    """Return the context length that a server states for a model; None if it does not.

    Args:
        models: its reply to `/v1/models`, of whatever form.
        props: its reply to `/props`, which llama.cpp has.
        name: of the model.
    """
    slot = _length(
        _table(_table(props).get("default_generation_settings")).get("n_ctx")
    )
    if slot:
        # What the model was trained with may be more.
        return slot
    model = _model_entry(models, name)
    for field in _LENGTH_FIELDS:
        length = _length(model.get(field))
        if length:
            return length
    return _length(_table(model.get("meta")).get("n_ctx_train")) or None


async def _json(session: aiohttp.ClientSession, url: str) -> Any:
    """Return the JSON at a URL; None if there is none."""
    try:
        # A redirect would take the key to another address.
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                return None
            return json.loads(await read_body(response, MAX_STATUS_BYTES))
    except _ERRORS:
        return None


def _model_entry(reply: Any, name: str) -> Mapping[str, Any]:
    """Return what `/v1/models` says of a model; empty if nothing."""
    models = list(_models(reply))
    by_name = {str(model.get("id")): model for model in models}
    if name in by_name:
        model = by_name[name]
        # vLLM tells the length of an adapter at the model that it belongs to.
        parent = by_name.get(str(model.get("parent")), {})
        return {**parent, **{key: value for key, value in model.items() if value}}
    # llama.cpp serves one model under whatever name it is asked for.
    return models[0] if len(models) == 1 else {}


def _models(reply: Any) -> Iterator[Mapping[str, Any]]:
    models = _table(reply).get("data")
    if isinstance(models, Sequence):
        for model in models:
            if isinstance(model, Mapping):
                yield model


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _length(value: Any) -> int:
    """Return a number of tokens; 0 for whatever else stands there."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and value > 0 else 0
