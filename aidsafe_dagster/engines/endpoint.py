"""The `endpoint` engine: any OpenAI-compatible chat server, near or far.

vLLM behind a router, Ollama, llama.cpp, a cloud: it needs a base URL, a model, and the name of the
environment variable that holds the key. Answers are structured by `response_format: json_schema`.
The HTTP client is aiohttp and not the vendor's: it costs a third of the CPU per call, which counts
at hundreds of calls in flight.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pydantic_core import to_json

from aidsafe_dagster.engines.log_probabilities import ONE_TOKEN, label_text
from aidsafe_dagster.engines.protocol import (
    ErrorKind,
    RequestRejected,
    RetryableError,
    Route,
)
from aidsafe_dagster.engines.roles import for_speaker
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.recipe.secret_mask import mask_secret

_JSON = {"Content-Type": "application/json"}
_TRANSIENT = {408, 409, 425}
_RATE_LIMITED = {429, 529}
_UNAUTHORIZED = {401, 403}
_NOT_FOUND = 404
_MAX_CUT_ANSWERS = 3
"""After this many answers cut at max_tokens, a further attempt only costs tokens."""
_MAX_DETAIL = 300
"""Characters of a server's error message that are shown."""
_CONNECT_TIMEOUT_S = 10
_STATUS_TIMEOUT = aiohttp.ClientTimeout(10)
"""For requests that no model has to answer."""
_MAX_SEED = 0x7FFFFFFF
"""31 bits, as all servers take them."""
_CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)


class EndpointEngine:
    """Makes one attempt at a call.

    Args:
        settings: of the server.
        by_speaker: the same with what some roles or agents change: model, reasoning, extra fields.
        server: name of the server, for messages and for its limits.

    Raises:
        SetupError: no base URL or model is set.
    """

    name = "endpoint"
    simulated = False
    gpus = 0

    def __init__(
        self,
        settings: ServerSettings,
        by_speaker: Mapping[str, ServerSettings] | None = None,
        server: str = "endpoint",
    ) -> None:
        parts = urlsplit(settings.base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SetupError(
                f"endpoint.base_url: '{settings.base_url}' is not an http(s) URL; "
                "example: http://127.0.0.1:8000/v1"
            )
        if not settings.model:
            raise SetupError(
                "endpoint.model: the name of the model that the server serves is required"
            )
        self.settings = settings
        self._by_speaker = by_speaker or {}
        self._server = server
        self._routes: dict[str, Route] = {}
        self._key = os.environ.get(settings.api_key_env, "")
        self._session: aiohttp.ClientSession | None = None

    @property
    def slots(self) -> int:
        return self.settings.slots

    def metrics_url(self) -> str | None:
        return self._root_url("/metrics")

    def settings_for(self, speaker: str) -> ServerSettings:
        """Return the settings with what a role or an agent changes."""
        return for_speaker(self._by_speaker, speaker, self.settings)

    def route(self, speaker: str) -> Route:
        # Asked once a call, and the same every time.
        if speaker not in self._routes:
            settings = self.settings_for(speaker)
            self._routes[speaker] = server_route(self._server, settings)
        return self._routes[speaker]

    async def complete(self, request: Request, attempt: int) -> Completion:
        # to_json takes a tenth of the time of the standard library's json.
        payload = to_json(self._payload(request, attempt))
        url = self._url("/chat/completions")
        try:
            async with self._client().post(
                url, data=payload, headers=_JSON
            ) as response:
                body = await response.read()
        except _CONNECTION_ERRORS as error:
            detail = self._mask_key(f"{type(error).__name__}: {error}")
            raise RetryableError(detail, kind=ErrorKind.UNAVAILABLE) from error
        if response.status != 200:
            await self._raise_for_status(response.status, response.headers, body)
        return self._parse(body, request, attempt)

    async def models(self) -> list[str]:
        """Return the names of the models that the server serves.

        Raises:
            SetupError: the server cannot be reached or does not speak the protocol.
        """
        url = self._url("/models")
        try:
            async with self._client().get(url, timeout=_STATUS_TIMEOUT) as response:
                # Some servers send JSON as text/plain, which aiohttp refuses by default.
                body = await response.json(content_type=None)
            models = body["data"]
            return [str(model["id"]) for model in models]
        except (*_CONNECTION_ERRORS, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            detail = f"{self.settings.base_url}/models: {reason}"
            raise SetupError(self._mask_key(detail)) from error

    async def is_healthy(self) -> bool:
        """Return whether vLLM's `/health` answers. It fails when the engine behind it is dead."""
        url = self._root_url("/health")
        try:
            async with self._client().get(url, timeout=_STATUS_TIMEOUT) as response:
                return response.status == 200
        except _CONNECTION_ERRORS:
            return False

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=self.settings.timeout_s, sock_connect=_CONNECT_TIMEOUT_S
            )
            headers = {}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(
                # The driver limits the calls. A second limit here would hide the queue from it.
                connector=aiohttp.TCPConnector(limit=0),
                # A router's cookie would bind all calls to one of its servers.
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=timeout,
                headers=headers,
            )
        return self._session

    def _url(self, path: str) -> str:
        return self.settings.base_url.rstrip("/") + path

    def _root_url(self, path: str) -> str:
        """Return the URL of a path that vLLM serves beside the OpenAI protocol."""
        base_url = self.settings.base_url.rstrip("/")
        return base_url.removesuffix("/v1") + path

    def _payload(self, request: Request, attempt: int) -> dict[str, Any]:
        messages = [
            {"role": message.role, "content": message.content}
            for message in request.messages
        ]
        payload: dict[str, Any] = {
            "model": self.settings_for(request.speaker).model,
            "messages": messages,
            # With the same seed, an answer that was cut would be cut at the same place again.
            "seed": (request.seed + attempt) & _MAX_SEED,
            **request.sampling.model_dump(exclude_none=True),
        }
        if request.schema:
            schema = {
                "name": str(request.role),
                "schema": request.schema,
                "strict": True,
            }
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.labels:
            payload |= ONE_TOKEN
        if self.settings.priority:
            # vLLM serves the smallest number first, so later turns of a dialogue come first.
            payload["priority"] = -request.turn
        # Last, so that the settings may override any field.
        return payload | dict(self.settings.extra_body)

    async def _raise_for_status(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Raise what a reply other than 200 means: retry, reject the request, or stop the run."""
        # Mask before cutting: a key that is cut in two is not recognized.
        text = self._mask_key(body.decode("utf-8", "replace"))[:_MAX_DETAIL]
        detail = f"HTTP {status}: {text}"
        wait_s = _retry_after_s(headers)
        # Before the 5xx, since 529 ("overloaded") is one that comes from a server that is up.
        if status in _RATE_LIMITED:
            raise RetryableError(detail, wait_s, ErrorKind.RATE_LIMITED)
        if status >= 500:
            raise RetryableError(detail, wait_s, ErrorKind.UNAVAILABLE)
        if status in _TRANSIENT:
            raise RetryableError(detail, wait_s, ErrorKind.BAD_ANSWER)
        if status in _UNAUTHORIZED:
            raise SetupError(
                f"{self.settings.base_url}: {detail}; "
                f"is the key in {self.settings.api_key_env} right?"
            )
        if status == _NOT_FOUND:
            served = ", ".join(await self.models())
            raise SetupError(
                f"{self.settings.base_url}: {detail}; "
                f"endpoint.model is '{self.settings.model}', served: {served}"
            )
        raise RequestRejected(detail)

    def _parse(self, body: bytes, request: Request, attempt: int) -> Completion:
        """Return the completion in a reply.

        Raises:
            RetryableError: it is no chat completion, or the answer is empty or cut.
            RequestRejected: answers to this request have been cut too often.
        """
        try:
            reply = json.loads(body)
            choice = reply["choices"][0]
            message = choice["message"]
            # A refusal is text like any other. Whether it parses is for the recipe to say.
            text = message.get("content") or message.get("refusal") or ""
            if request.labels:
                text = label_text(choice, request.labels) or text
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RetryableError(
                f"the reply is not a chat completion: {type(error).__name__}"
            ) from error
        was_cut = choice.get("finish_reason") == "length"
        # An answer of one token always ends at its limit.
        if was_cut and not request.labels:
            detail = f"the answer was cut after {len(text)} characters (finish_reason: length)"
            if attempt + 1 >= _MAX_CUT_ANSWERS:
                raise RequestRejected(detail)
            raise RetryableError(detail)
        if not isinstance(text, str) or not text.strip():
            raise RetryableError("the answer is empty")
        return Completion(
            text=_storable(text),
            model=str(reply.get("model") or self.settings.model),
            usage=_usage(reply),
        )

    def _mask_key(self, text: str) -> str:
        return mask_secret(text, self._key)


def server_route(
    name: str, settings: ServerSettings, options: Mapping[str, Any] | None = None
) -> Route:
    """Return the route to a server; `options` are further ones for the journal's key."""
    all_options = {**settings.answer_options, **(options or {})}
    return Route(
        server=name,
        model=settings.model_name,
        slots=settings.slots,
        options=json.dumps(all_options, sort_keys=True) if all_options else "",
        profile=settings.profile,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        prices=settings.prices,
    )


def _storable(text: str) -> str:
    """Replace lone surrogates and NUL, which databases and Parquet do not take."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _usage(reply: Mapping[str, Any]) -> Usage:
    # Not every server counts, and some send null for what they do not count.
    usage = reply.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        calls=1,
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
    )


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header in either of its two forms. None without one."""
    value = headers.get("Retry-After")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        wait = parsedate_to_datetime(value) - datetime.now(UTC)
    except (ValueError, TypeError):
        return None
    # Negative if the clocks of the two machines differ.
    return max(0.0, wait.total_seconds())
