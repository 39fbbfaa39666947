"""The `endpoint` engine: any OpenAI-compatible chat server, near or far.

vLLM behind a router, Ollama, llama.cpp, a cloud: it needs a base URL, a model, and the name of the
environment variable that holds the key. What else differs from server to server is in its settings
(`ServerSettings`). This module speaks HTTP; what is sent, what comes back and what an error means
are in `chat_request.py`, `chat_reply.py` and `reply_errors.py`.

The HTTP client is aiohttp and not the vendor's: it costs a third of the CPU per call, which counts
at hundreds of calls in flight.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pydantic_core import to_json

from aidsafe_dagster.engines.api_key import read_api_key
from aidsafe_dagster.engines.chat_reply import (
    NoLoop,
    completion_of,
    ended_completion,
    parse_body,
)
from aidsafe_dagster.engines.chat_request import ChatRequest
from aidsafe_dagster.engines.chat_stream import ChatStream
from aidsafe_dagster.engines.error_reply import (
    ErrorReply,
    error_in,
    html_title,
    is_html,
    read_error,
)
from aidsafe_dagster.engines.http_session import open_session
from aidsafe_dagster.engines.loop_ending import LoopEnding, Way
from aidsafe_dagster.engines.protocol import (
    ErrorKind,
    RequestRejected,
    RetryableError,
    Route,
)
from aidsafe_dagster.engines.proxies import proxy_for
from aidsafe_dagster.engines.rate_limits import limits_of, wait_s
from aidsafe_dagster.engines.remedies import Sent
from aidsafe_dagster.engines.reply_body import (
    MIB,
    ReplyTooLarge,
    chunks_of,
    read_body,
)
from aidsafe_dagster.engines.reply_errors import (
    SET_UP_FAULTS,
    Asked,
    Fault,
    error_for,
    fault_of,
)
from aidsafe_dagster.engines.roles import for_speaker
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.recipe.secret_mask import mask_secret

_JSON = {"Content-Type": "application/json"}
_STATUS_TIMEOUT = aiohttp.ClientTimeout(10)
"""For requests that no model has to answer."""
_CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
# What was asked of a model: servers take some of it from one model and not from another.
_Kind = tuple[str, bool, bool, bool]
_ENVELOPES = 8
"""How many times larger a stream is than what it carries: every token comes in an envelope."""
_FAULTS_OF_STREAMS = frozenset({Fault.PARAMETER, Fault.REJECTED})


class _StreamRefused(Exception):
    """A request for a stream was refused, perhaps for being one."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class _ServerReply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    reply: Any
    """Parsed; the text itself if it is no JSON."""
    body: bytes = b""
    is_stream: bool = False
    loop: str | None = None
    """The loop for which the stream was left off."""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class EndpointEngine:
    """Makes one attempt at a call.

    Args:
        settings: of the server.
        by_speaker: the same with what some roles or agents change: model, reasoning, extra fields.
        server: name of the server, for messages and for its limits.

    Raises:
        SetupError: no base URL or model is set, the key cannot be one, or the proxy is of a kind
            that is not supported.
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
        self._requests: dict[str, ChatRequest] = {}
        self._key = read_api_key(settings.api_key_env)
        # Raised now if it is of a kind that is not supported.
        _ = proxy_for(settings.base_url)
        self._session: aiohttp.ClientSession | None = None
        self._answered: set[_Kind] = set()
        """What was answered at least once, so that its set-up is right."""
        self._loop_ending = LoopEnding()

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
            route = server_route(self._server, settings)
            self._routes[speaker] = replace(route, address=settings.base_url)
        return self._routes[speaker]

    async def complete(self, request: Request, attempt: int) -> Completion:
        chat = self._chat_request(request.speaker)
        loops = self._loop_ending
        started = time.monotonic()
        loops.in_flight += 1
        way = loops.way(request, chat.settings)
        try:
            completion = await self._complete(request, attempt, chat, way)
        except NoLoop as cut:
            # The answer is good so far, so it is written again, to its end.
            completion = await self._complete(request, attempt, chat, "off")
            completion = _with_usage(completion, cut.usage)
        except _StreamRefused as refusal:
            completion = await self._complete_without_stream(
                request, attempt, chat, refusal.error
            )
        finally:
            loops.in_flight -= 1
        loops.note(completion.usage, time.monotonic() - started)
        return completion

    async def _complete(
        self, request: Request, attempt: int, chat: ChatRequest, way: Way
    ) -> Completion:
        payload = chat.body(request, attempt, way)
        kind = (
            chat.settings.model,
            bool(request.schema),
            bool(request.labels),
            request.scores_prompt,
        )
        stream = ChatStream(ends_loops=True, is_json=bool(request.schema))
        answer = await self._post(payload, stream if way == "stream" else None)
        if answer.loop is not None:
            self._answered.add(kind)
            return ended_completion(stream, request, chat.settings, answer.loop)
        reply, status = answer.reply, answer.status
        error_body = reply if status != 200 else error_in(reply)
        if error_body is not None:
            error = read_error(status, error_body, self._mask_key)
            fields = tuple(payload)
            raise await self._error_for(error, answer, fields, chat, kind)
        if isinstance(reply, str):
            raise self._not_json(reply)
        completion = completion_of(reply, request, attempt, chat.settings)
        self._answered.add(kind)
        if answer.is_stream and not stream.counts_tokens:
            self._loop_ending.counts_no_streams = True
        return completion

    async def _complete_without_stream(
        self, request: Request, attempt: int, chat: ChatRequest, refusal: Exception
    ) -> Completion:
        """Try a call again whose stream was refused.

        Raises:
            Exception: the refusal, if it is not about the stream; or as `complete`.
        """
        try:
            completion = await self._complete(request, attempt, chat, "off")
        except (RequestRejected, SetupError):
            raise refusal from None
        self._loop_ending.refuses_streams = True
        return completion

    async def models(self) -> list[str]:
        """Return the names of the models that the server serves.

        Raises:
            SetupError: the server cannot be reached or does not speak the protocol. Says so of a
                wrong key and a wrong path.
        """
        url = self._url("/models")
        try:
            async with self._client().get(
                url, timeout=_STATUS_TIMEOUT, allow_redirects=False
            ) as response:
                status = response.status
                reply = parse_body(await read_body(response, self._max_reply_bytes))
        except (*_CONNECTION_ERRORS, ReplyTooLarge) as error:
            reason = f"{type(error).__name__}: {error}"
            detail = f"{self.settings.base_url}/models: {reason}"
            raise SetupError(self._mask_key(detail)) from error
        if 300 <= status < 400:
            raise SetupError(self._redirect_detail(response.headers))
        if status != 200:
            raise self._models_error(status, reply)
        names = _model_names(reply)
        if names is None:
            raise SetupError(
                f"{self.settings.base_url}/models: the reply is not a list of models"
            )
        return names

    async def is_healthy(self) -> bool:
        """Return whether vLLM's `/health` answers. It fails when the engine behind it is dead."""
        url = self._root_url("/health")
        try:
            async with self._client().get(
                url, timeout=_STATUS_TIMEOUT, allow_redirects=False
            ) as response:
                return response.status == 200
        except _CONNECTION_ERRORS:
            return False

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(
        self, payload: Mapping[str, Any], stream: ChatStream | None
    ) -> _ServerReply:
        """Send a body to the chat route, and read the reply.

        A reply that comes as a stream is fed to `stream`, and left off at a loop.

        Raises:
            RetryableError: no connection, no answer in time, or too long a reply.
            SetupError: the server sends elsewhere, or its certificate is not trusted.
        """
        # to_json takes a tenth of the time of the standard library's json.
        data = to_json(payload)
        url = self._url("/chat/completions")
        try:
            async with self._client().post(
                url,
                data=data,
                headers=_JSON,
                # A POST that is redirected becomes a GET, or takes prompts to another host.
                allow_redirects=False,
            ) as response:
                if stream is not None and _is_stream(response):
                    loop = await self._read_stream(response, stream)
                    reply = stream.reply() if loop is None else None
                    return _ServerReply(200, response.headers, reply, b"", True, loop)
                body = await read_body(response, self._max_reply_bytes)
        except ReplyTooLarge as error:
            raise RetryableError(str(error)) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise self._foreign(
                f"{self.settings.base_url}: its certificate is not trusted: "
                f"{error.certificate_error}; set SSL_CERT_FILE to a file with the certificate "
                "of the authority that signed it"
            ) from error
        except _CONNECTION_ERRORS as error:
            detail = self._mask_key(f"{type(error).__name__}: {error}")
            raise RetryableError(detail, kind=ErrorKind.UNAVAILABLE) from error
        if 300 <= response.status < 400:
            detail = self._redirect_detail(response.headers)
            raise self._foreign(detail)
        return _ServerReply(response.status, response.headers, parse_body(body), body)

    async def _read_stream(
        self, response: aiohttp.ClientResponse, stream: ChatStream
    ) -> str | None:
        """Read a stream to its end, or to a loop, which is returned.

        Raises:
            ReplyTooLarge: it is larger than the settings allow.
        """
        self._loop_ending.has_streamed = True
        limit = self._max_reply_bytes
        async for chunk in chunks_of(response, _ENVELOPES * limit):
            loop = stream.feed(chunk)
            if loop is not None:
                # The server notices, and stops writing.
                response.close()
                return loop
            if stream.size > limit:
                response.close()
                raise ReplyTooLarge(limit)
        return None

    @property
    def _max_reply_bytes(self) -> int:
        return self.settings.max_reply_mib * MIB

    async def _error_for(
        self,
        error: ErrorReply,
        answer: _ServerReply,
        fields: tuple[str, ...],
        chat: ChatRequest,
        kind: _Kind,
    ) -> Exception:
        """Return what an error reply means: retry, reject the request, or stop the run."""
        sent = Sent(chat.settings, fields, self._table)
        headers, text = answer.headers, answer.text
        wait = wait_s(headers, text)
        fault = fault_of(error, wait, sent)
        served: tuple[str, ...] = ()
        if fault in (Fault.UNKNOWN_MODEL, Fault.WRONG_PATH):
            served = await self._served()
        asked = Asked(sent, self._key_advice(), self._may_stop(fault, kind))
        limits = limits_of(headers, text)
        raised = error_for(fault, error, asked, wait, limits, served)
        # Some servers refuse a stream, or its options, in words that name neither.
        may_be_stream = fault in _FAULTS_OF_STREAMS and "stream" in fields
        if may_be_stream and not self._loop_ending.has_streamed:
            return _StreamRefused(raised)
        return raised

    def _may_stop(self, fault: Fault, kind: _Kind) -> bool:
        """Return whether a refusal stops the run: nothing like it was answered before."""
        if fault not in SET_UP_FAULTS:
            return False
        if fault is Fault.PARAMETER:
            return kind not in self._answered
        model = kind[0]
        return all(model != answered[0] for answered in self._answered)

    async def _served(self) -> tuple[str, ...]:
        """Return the names of the server's models; none if it does not tell."""
        try:
            return tuple(await self.models())
        # What went wrong with the call itself is what matters.
        except SetupError:
            return ()

    def _not_json(self, text: str) -> Exception:
        """Return what a reply with status 200 means that is no JSON."""
        if not is_html(text):
            return RetryableError("the reply is not a chat completion: it is no JSON")
        title = html_title(text)
        page = f"an HTML page ('{title}')" if title else "an HTML page"
        return self._foreign(
            f"{self.settings.base_url}: {page} came where a completion should; is base_url "
            "right, and does a sign-in page or a proxy stand in between?"
        )

    def _foreign(self, detail: str) -> Exception:
        """Return what a reply means that does not come from a model server."""
        detail = self._mask_key(detail)
        if self._answered:
            return RetryableError(detail, kind=ErrorKind.UNAVAILABLE)
        return SetupError(detail)

    def _redirect_detail(self, headers: Mapping[str, str]) -> str:
        location = headers.get("Location", "")
        host = urlsplit(location).netloc.rpartition("@")[2]
        target = f"to {host}" if host else f"to the path {location[:100]}"
        return (
            f"{self.settings.base_url}: the server redirects {target}, which is not followed; "
            "set base_url to where the server really is"
        )

    def _models_error(self, status: int, reply: Any) -> SetupError:
        error = read_error(status, reply, self._mask_key)
        sent = Sent(self.settings, (), self._table)
        asked = Asked(sent, self._key_advice(), may_stop=True)
        fault = fault_of(error, None, sent)
        raised = error_for(fault, error, asked)
        if isinstance(raised, SetupError):
            return raised
        return SetupError(f"{self.settings.base_url}/models: {error.detail}")

    def _chat_request(self, speaker: str) -> ChatRequest:
        if speaker not in self._requests:
            self._requests[speaker] = ChatRequest(self.settings_for(speaker))
        return self._requests[speaker]

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(self.settings, self.settings.timeout_s)
        return self._session

    def _url(self, path: str) -> str:
        return self.settings.base_url.rstrip("/") + path

    def _root_url(self, path: str) -> str:
        """Return the URL of a path that vLLM serves beside the OpenAI protocol."""
        base_url = self.settings.base_url.rstrip("/")
        return base_url.removesuffix("/v1") + path

    @property
    def _table(self) -> str:
        """The table of the settings that describes the server."""
        if self._server in ("endpoint", "vllm"):
            return "[endpoint]"
        # A role may name an address in place of a server.
        name = "NAME" if "/" in self._server else self._server
        return f"[servers.{name}]"

    def _key_advice(self) -> str:
        variable = self.settings.api_key_env
        if not variable:
            return (
                "no key is sent: set api_key_env to the name of the variable that holds it "
                f"in {self._table}"
            )
        if not self._key:
            return f"no key is sent: {variable} is not set"
        return f"is the key in {variable} right?"

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


def _model_names(reply: Any) -> list[str] | None:
    """Return the names in a list of models. None: the reply is none."""
    models = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(models, list):
        return None
    names = [model.get("id") for model in models if isinstance(model, dict)]
    return [str(name) for name in names if name]


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    return response.status == 200 and response.content_type == "text/event-stream"


def _with_usage(completion: Completion, usage: Usage) -> Completion:
    """Return a completion with what a first, useless answer used."""
    # Both together are one call of the dialogue.
    both = (completion.usage + usage).model_copy(update={"calls": 1})
    return completion.model_copy(update={"usage": both})
