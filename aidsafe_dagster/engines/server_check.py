"""What a server says without a model at work: is it there, is the key right, what does it serve?"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aidsafe_dagster.engines.api_key import read_api_key
from aidsafe_dagster.engines.server_client import (
    Reply,
    ServerClient,
    ServerUnusable,
    key_problem,
)
from aidsafe_dagster.engines.server_facts import stated_length
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import SetupError

_TIMEOUT_S = 20.0
_MAX_MODELS = 10
"""Names of served models that are shown."""
_ROUTE = re.compile(r"/(chat/completions|completions|chat|models|responses|messages)$")
"""Ends of a URL that belong to one route, and not to the base."""


class Verdict(StrEnum):
    """What came of asking a server for its models."""

    SERVES = "serves"
    NO_LIST = "no_list"
    """It answers, and does not list its models. Not a failure."""
    NO_SUCH_MODEL = "no_such_model"
    UNUSABLE = "unusable"


@dataclass(frozen=True)
class ServerCheck:
    verdict: Verdict
    detail: str
    """For a person. Never the key."""
    context_length: int | None = None
    right_url: str = ""
    """The base URL that does answer, where that of the settings has a wrong path."""


async def check_server(settings: ServerSettings) -> ServerCheck:
    """Ask a server for its models, and say what is wrong where it does not list the right one."""
    problem = _address_problem(settings.base_url)
    if problem:
        return ServerCheck(Verdict.UNUSABLE, problem)
    try:
        async with ServerClient(settings, _TIMEOUT_S) as client:
            return await _check(client)
    except (SetupError, ServerUnusable) as error:
        return ServerCheck(Verdict.UNUSABLE, str(error))


async def context_length(client: ServerClient) -> int | None:
    """Return the context length that a server states, in tokens; None if it does not."""
    models = await client.peek(f"{client.base_url}/models")
    props = await client.peek(f"{client.root_url}/props")
    return stated_length(models.data, props.data, client.settings.model)


async def tokenize_dialect(client: ServerClient) -> str:
    """Return whose `/tokenize` a server has ("vLLM", "llama.cpp"); empty if it counts nothing."""
    url = f"{client.root_url}/tokenize"
    text = "How many tokens?"
    reply = await client.peek(url, {"model": client.settings.model, "prompt": text})
    if reply.status == 200 and isinstance(reply.data, dict) and reply.data.get("count"):
        return "vLLM"
    reply = await client.peek(url, {"content": text})
    if (
        reply.status == 200
        and isinstance(reply.data, dict)
        and reply.data.get("tokens")
    ):
        return "llama.cpp"
    return ""


async def _check(client: ServerClient) -> ServerCheck:
    reply = await client.get(f"{client.base_url}/models")
    models = served_models(reply)
    if models is None:
        return await _check_without_list(client, reply)
    verdict, detail = _compare(client.settings, models)
    length = None
    if verdict is Verdict.SERVES:
        length = await context_length(client)
    return ServerCheck(verdict, detail, length)


async def _check_without_list(client: ServerClient, reply: Reply) -> ServerCheck:
    """Find out why a server returned no list of models."""
    # A key may be allowed to chat and not to list models, which is a 403.
    if reply.refuses_key and not (reply.status == 403 and await _chats(client)):
        problem = key_problem(reply, client.settings)
        return ServerCheck(Verdict.UNUSABLE, f"{reply.url}: {problem}")
    if not reply.refuses_key:
        right_url = await _right_base_url(client)
        if right_url:
            problem = _wrong_path(reply, right_url)
            return ServerCheck(Verdict.UNUSABLE, problem, right_url=right_url)
        is_unlisted = reply.status in (200, 400, 404, 405, 501)
        if not (is_unlisted and await _chats(client)):
            return ServerCheck(Verdict.UNUSABLE, _describe(reply))
    detail = f"{client.base_url} cannot list its models; --try asks the model itself"
    return ServerCheck(Verdict.NO_LIST, detail)


def _wrong_path(reply: Reply, right_url: str) -> str:
    end = " (it should end with /v1)" if right_url.endswith("/v1") else ""
    return (
        f"wrong path: {reply.url} returns {reply}; "
        f"base_url should be {right_url}{end}, which answers"
    )


def _describe(reply: Reply) -> str:
    """Say what is wrong with a reply that is no list of models, where nothing near it is one."""
    if reply.is_html and reply.status == 200:
        return (
            f"{reply.url} returns {reply.words}: a sign-in page, or no model server; "
            "base_url should end with /v1"
        )
    if reply.status == 404:
        return f"wrong path: {reply.url} returns {reply}; base_url should end with /v1"
    if reply.status in (429, 503, 529):
        return f"{reply.url}: busy or still starting: {reply}"
    if reply.status == 200:
        return f"{reply.url} returns no list of models: {reply.words}"
    return f"{reply.url}: {reply}"


def served_models(reply: Reply) -> list[str] | None:
    """Return the names in a list of models, of any of the usual forms; None if it is none."""
    if reply.status != 200:
        return None
    models = _model_entries(reply.data)
    if models is None:
        return None
    names = []
    for model in models:
        name = model
        if isinstance(model, dict):
            name = model.get("id") or model.get("name") or model.get("model")
        if isinstance(name, str):
            names.append(name)
    return names


def _model_entries(data: Any) -> list[Any] | None:
    if isinstance(data, dict):
        data = data.get("data", data.get("models"))
    return data if isinstance(data, list) else None


def _compare(settings: ServerSettings, models: list[str]) -> tuple[Verdict, str]:
    """Say whether the model that is asked for is among those served."""
    where = settings.base_url.strip()
    listing = _listing(models)
    if not settings.model:
        return Verdict.NO_SUCH_MODEL, f"no model is set; {where} serves {listing}"
    if any(_is_name_of(name, settings.model) for name in models):
        return Verdict.SERVES, f"{where} serves '{settings.model}'"
    detail = f"no such model: {where} serves {listing}, not '{settings.model}'"
    nearest = get_close_matches(settings.model, models, n=1, cutoff=0.5)
    if nearest:
        detail += f". Did you mean '{nearest[0]}'?"
    return Verdict.NO_SUCH_MODEL, detail


def _is_name_of(name: str, wanted: str) -> bool:
    """Return whether a listed name is that of a model, which Ollama and Google list longer."""
    return name in (wanted, f"{wanted}:latest", f"models/{wanted}")


def _listing(models: list[str]) -> str:
    if not models:
        return "nothing"
    listing = ", ".join(models[:_MAX_MODELS])
    more = len(models) - _MAX_MODELS
    return f"{listing} and {more} more" if more > 0 else listing


def _address_problem(base_url: str) -> str:
    """Say what is wrong with an address before anything is sent there; empty if nothing is."""
    example = "example: http://127.0.0.1:8000/v1"
    parts = urlsplit(base_url.strip())
    if not base_url.strip():
        return f"base_url is not set; {example}"
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return f"base_url: '{base_url}' is not an http(s) URL; {example}"
    return ""


async def _right_base_url(client: ServerClient) -> str:
    """Return the base URL that does list models, near one that does not; empty if none does."""
    for url in _neighbours(client.base_url):
        try:
            reply = await client.get(f"{url}/models")
        except ServerUnusable:
            continue
        # A key that is refused in JSON is refused by a model server.
        is_protected = reply.refuses_key and isinstance(reply.data, dict)
        if served_models(reply) is not None or is_protected:
            return url
    return ""


def _neighbours(base_url: str) -> Iterator[str]:
    """Yield the base URLs that somebody may have meant, the likeliest first."""
    parts = urlsplit(base_url)
    root = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
    bare = base_url
    while _ROUTE.search(bare):
        bare = _ROUTE.sub("", bare)
    candidates = [
        bare,
        f"{bare}/v1",
        f"{root}/v1",
        f"{root}/api/v1",
        f"{root}/openai/v1",
    ]
    if bare.endswith("/v1/v1"):
        candidates.insert(0, bare.removesuffix("/v1"))
    for candidate in dict.fromkeys(candidates):
        if candidate != base_url and not candidate.endswith("/v1/v1"):
            yield candidate


async def _chats(client: ServerClient) -> bool:
    """Return whether there is a chat route. A request without messages costs nothing."""
    model = client.settings.model
    reply = await client.post(
        f"{client.base_url}/chat/completions", {"model": model, "messages": []}
    )
    if reply.refuses_key:
        raise ServerUnusable(key_problem(reply, client.settings))
    # A server that does not know the model says so by its name; a wrong path knows no model.
    if reply.status == 404:
        return bool(model) and model in reply.words
    is_json = reply.data is not None
    return is_json and reply.status in (200, 400, 422, 429, 500)


def key_state(settings: ServerSettings) -> str:
    """Say whether a key is set. Never the key itself: what the doctor prints is pasted around."""
    if not settings.api_key_env:
        return "no key"
    is_set = bool(read_api_key(settings.api_key_env))
    return f"key in {settings.api_key_env}: {'set' if is_set else 'not set'}"
