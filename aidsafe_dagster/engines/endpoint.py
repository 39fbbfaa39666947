"""The `endpoint` engine: any OpenAI-compatible chat server, near or far.

vLLM behind a router, Ollama, llama.cpp, a cloud: a base URL, a model, and the name of the environment variable that
holds the key. Answers are structured by `response_format: json_schema`. The HTTP client is aiohttp and not the
vendor's: it costs a third of the CPU per call, which counts at hundreds of calls in flight.
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
from aidsafe_dagster.engines.protocol import ErrorKind, RequestRejected, RetryableError
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role, Usage
from aidsafe_dagster.recipe.secret_mask import mask_secret

_JSON = {"Content-Type": "application/json"}
_PASSING = {408, 409, 425}
_BUSY = {429, 529}
_CUT_ANSWERS = 3  # after so many answers cut at max_tokens, a further attempt only costs tokens


class EndpointEngine:
    """Makes one attempt at a call; `models` names other models of the same server for some roles.

    Raises:
        SetupError: no base URL or model is set.
    """

    name = "endpoint"
    simulated = False
    gpus = 0

    def __init__(
        self, settings: EndpointSettings, models: Mapping[Role, str] | None = None
    ) -> None:
        parts = urlsplit(settings.base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SetupError(
                f"endpoint.base_url: '{settings.base_url}' is not an http(s) URL; example: http://127.0.0.1:8000/v1"
            )
        if not settings.model:
            raise SetupError(
                "endpoint.model: the name of the model that the server serves is required"
            )
        self.settings = settings
        self._models = models or {}
        self._key = os.environ.get(settings.api_key_env, "")
        self._session: aiohttp.ClientSession | None = None

    @property
    def slots(self) -> int:
        return self.settings.slots

    def metrics_url(self) -> str | None:
        return self.settings.base_url.rstrip("/").removesuffix("/v1") + "/metrics"

    def model_for(self, role: Role) -> str:
        return self._models.get(role, self.settings.model)

    async def complete(self, request: Request, attempt: int) -> Completion:
        try:
            sent = to_json(
                self._body(request, attempt)
            )  # a tenth of what the standard library takes for it
            async with self._client().post(
                self._url("/chat/completions"), data=sent, headers=_JSON
            ) as reply:
                body = await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = self._redacted(f"{type(error).__name__}: {error}")
            raise RetryableError(said, trouble=ErrorKind.AWAY) from error
        if reply.status != 200:
            await self._refuse(reply.status, reply.headers, body)
        return self._completion(body, request, attempt)

    async def models(self) -> list[str]:
        """Names of the models that the server serves.

        Raises:
            SetupError: the server cannot be reached or does not answer in the protocol.
        """
        try:
            async with self._client().get(
                self._url("/models"), timeout=aiohttp.ClientTimeout(10)
            ) as reply:
                body = await reply.json(content_type=None)
            return [str(model["id"]) for model in body["data"]]
        except (
            aiohttp.ClientError,
            TimeoutError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            raise SetupError(
                self._redacted(f"{self.settings.base_url}/models: {type(error).__name__}: {error}")
            ) from error

    async def is_healthy(self) -> bool:
        """What vLLM's `/health` says; it fails when the engine behind the HTTP server is dead."""
        url = self.settings.base_url.rstrip("/").removesuffix("/v1") + "/health"
        try:
            async with self._client().get(url, timeout=aiohttp.ClientTimeout(10)) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self.settings.timeout_s, sock_connect=10),
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            )
        return self._session

    def _url(self, path: str) -> str:
        return self.settings.base_url.rstrip("/") + path

    def _body(self, request: Request, attempt: int) -> dict[str, Any]:
        schema = {"name": str(request.role), "schema": request.schema, "strict": True}
        return {
            "model": self.model_for(request.role),
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            **(
                {"response_format": {"type": "json_schema", "json_schema": schema}}
                if request.schema
                else {}
            ),
            "seed": (request.seed + attempt)
            & 0x7FFFFFFF,  # the same seed would be cut at the same place again
            **request.sampling.model_dump(),
            **(ONE_TOKEN if request.labels else {}),
            **({"priority": -request.turn} if self.settings.priority else {}),
            **self.settings.extra_body,
        }

    async def _refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        told = self._redacted(body.decode("utf-8", "replace"))[
            :300
        ]  # in this order: a key cut in two is not found
        said = f"HTTP {status}: {told}"
        if status in _PASSING or status in _BUSY or status >= 500:
            raise RetryableError(said, _retry_after(headers), _trouble(status))
        if status in (401, 403):
            raise SetupError(
                f"{self.settings.base_url}: {said}; is the key in {self.settings.api_key_env} right?"
            )
        if status == 404:
            served = ", ".join(await self.models())
            raise SetupError(
                f"{self.settings.base_url}: {said}; endpoint.model is '{self.settings.model}', served: {served}"
            )
        raise RequestRejected(said)

    def _completion(self, body: bytes, request: Request, attempt: int) -> Completion:
        try:
            reply = json.loads(body)
            choice = reply["choices"][0]
            text = choice["message"].get("content") or choice["message"].get("refusal") or ""
            if request.labels:
                text = label_text(choice, request.labels) or text
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RetryableError(
                f"the reply is not a chat completion: {type(error).__name__}"
            ) from error
        if choice.get("finish_reason") == "length" and not request.labels:
            cut = f"the answer was cut after {len(text)} characters (finish_reason: length)"
            raise (RequestRejected if attempt + 1 >= _CUT_ANSWERS else RetryableError)(cut)
        if not isinstance(text, str) or not text.strip():
            raise RetryableError("the answer is empty")
        text = (
            text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        )  # storable everywhere
        return Completion(
            text=text, model=str(reply.get("model") or self.settings.model), usage=_usage(reply)
        )

    def _redacted(self, text: str) -> str:
        return mask_secret(text, self._key)


def _trouble(status: int) -> ErrorKind:
    if status in _BUSY:
        return ErrorKind.BUSY
    return ErrorKind.AWAY if status >= 500 else ErrorKind.ANSWER


def _usage(reply: Mapping[str, Any]) -> Usage:
    usage = reply.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        calls=1,
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a `Retry-After` header in either of its two forms; None without one."""
    value = headers.get("Retry-After")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
