"""A model server on loopback with a dialect of its own: what it takes, refuses, and adds."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Body = dict[str, Any]
JSON_ANSWER = json.dumps(
    {"verdict": "keep", "score": 3, "comment": "short", "rules": ["a.1"]}
)
PROSE = "I would keep it, since it is short."
HTML = "<!doctype html><html><head><title>Sign in</title></head></html>"


@dataclass(frozen=True)
class Dialect:
    """By default a server that takes everything."""

    path: str = "/v1"
    key: str = ""
    models: tuple[str, ...] | None = ("m",)
    """None: there is no list of models."""
    page: str = ""
    """Answers every request, whatever its path."""
    page_status: int = 200
    refused: tuple[str, ...] = ()
    """Fields of the body."""
    no_seed_for: tuple[str, ...] = ()
    """Models that refuse a seed."""
    says_why: bool = True
    """Name the field in the message."""
    refusal: int = 400
    limit: str = "max_tokens"
    system: bool = True
    takes_temperature_beside_top_p: bool = True
    schema: Literal["enforced", "followed", "ignored", "refused"] = "enforced"
    """'followed': as JSON in a fence, with words around it."""
    is_filtered: bool = False
    """Every answer is empty."""
    credit: int = 1000
    """Chat calls, after which there is no credit left."""
    refused_keywords: tuple[str, ...] = ()
    takes_strict: bool = True
    json_mode: Literal["enforced", "ignored", "refused"] = "enforced"
    reasoning: Literal["", "block", "closing tag", "field", "counted"] = ""
    reasoning_field: str = "reasoning_content"
    reasoning_off: Mapping[str, Any] = field(default_factory=dict)
    """Body fields that switch it off."""
    log_probabilities: bool = True
    counts: bool = True
    caches: bool = True
    tokenize: Literal["", "vLLM", "llama.cpp"] = ""
    metrics: str = ""
    context_in_list: int | None = None
    context_in_props: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    busy_calls: int = 0
    """Chat calls that are refused as too many, at the beginning."""
    retry_after: str = "0"


@dataclass
class DialectServer:
    dialect: Dialect
    root: str = ""
    chats: list[Body] = field(default_factory=list)
    """Bodies of the chat requests, in the order in which they arrived."""
    gets: list[str] = field(default_factory=list)
    """Paths of the other requests."""

    @property
    def base_url(self) -> str:
        return self.root + self.dialect.path

    # --- answers: status and body ---

    def get(self, path: str) -> tuple[int, Any]:
        self.gets.append(path)
        dialect = self.dialect
        if path == f"{dialect.path}/models" and dialect.models is not None:
            return 200, {"data": [self._model(name) for name in dialect.models]}
        if path == "/metrics" and dialect.metrics:
            return 200, f"# HELP x\n{dialect.metrics}requests_running 1.0\n"
        if path == "/props" and dialect.context_in_props:
            generation = {"n_ctx": dialect.context_in_props}
            return 200, {"default_generation_settings": generation}
        return 404, {"detail": "Not Found"}

    def post(self, path: str, body: Body) -> tuple[int, Any]:
        dialect = self.dialect
        if path == "/tokenize":
            return self._tokens(body)
        if path != f"{dialect.path}/chat/completions":
            return 404, {"detail": "Not Found"}
        self.chats.append(body)
        if len(self.chats) <= dialect.busy_calls:
            return 429, {"error": {"message": "slow down"}}
        if len(self.chats) > dialect.credit:
            return 402, {"error": {"message": "Insufficient credits"}}
        return self._chat(body)

    def _chat(self, body: Body) -> tuple[int, Any]:
        dialect = self.dialect
        if not body["messages"]:
            return 400, {"error": {"message": "messages must not be empty"}}
        if dialect.models is not None and body["model"] not in dialect.models:
            return 404, {"error": {"message": f"no model {body['model']}"}}
        why = self._refusal_of(body)
        if why:
            message = why if dialect.says_why else "Bad request"
            return dialect.refusal, {"error": {"message": message}}
        return 200, self._completion(body)

    def _model(self, name: str) -> dict[str, Any]:
        model: dict[str, Any] = {"id": name}
        if self.dialect.context_in_list:
            model["max_model_len"] = self.dialect.context_in_list
        return model

    def _tokens(self, body: Body) -> tuple[int, Any]:
        dialect = self.dialect.tokenize
        if dialect == "vLLM" and "prompt" in body:
            return 200, {"count": 4, "tokens": [1, 2, 3, 4]}
        if dialect == "llama.cpp":
            return 200, {"tokens": [1, 2, 3] if "content" in body else []}
        return 404, {"detail": "Not Found"}

    def _refusal_of(self, body: Body) -> str:
        dialect = self.dialect
        for name in dialect.refused:
            if name in body:
                return f"Unsupported parameter: '{name}'"
        if "seed" in body and body["model"] in dialect.no_seed_for:
            return "Unsupported parameter: 'seed'"
        limits = {"max_tokens", "max_completion_tokens"} - {dialect.limit}
        other = limits.pop()
        if other in body:
            return f"'{other}' is not supported. Use '{dialect.limit}' instead."
        if not dialect.system and body["messages"][0]["role"] == "system":
            return "System role not supported"
        if not dialect.takes_temperature_beside_top_p and {
            "temperature",
            "top_p",
        } <= set(body):
            return "`temperature` and `top_p` cannot both be specified"
        return self._refusal_of_form(body.get("response_format") or {})

    def _refusal_of_form(self, form: Mapping[str, Any]) -> str:
        if form.get("type") == "json_object" and self.dialect.json_mode == "refused":
            return "This response_format type is unavailable now"
        if form.get("type") != "json_schema":
            return ""
        if self.dialect.schema == "refused":
            return "This response_format type is unavailable now"
        if "strict" in form["json_schema"] and not self.dialect.takes_strict:
            return "json_schema.strict: Extra inputs are not permitted"
        schema = json.dumps(form["json_schema"]["schema"])
        for keyword in self.dialect.refused_keywords:
            if f'"{keyword}"' in schema:
                return f"In context=('properties',), '{keyword}' is not permitted."
        return ""

    def _completion(self, body: Body) -> Body:
        dialect = self.dialect
        form = (body.get("response_format") or {}).get("type", "")
        modes: dict[str, str] = {
            "json_schema": dialect.schema,
            "json_object": dialect.json_mode,
        }
        text = JSON_ANSWER if modes.get(form) == "enforced" else PROSE
        if modes.get(form) == "followed":
            text = f"Here you are:\n```json\n{JSON_ANSWER}\n```"
        if dialect.is_filtered:
            text = ""
        message: Body = {"role": "assistant", "content": text}
        choice: Body = {"message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 8}
        off = dialect.reasoning_off
        is_off = bool(off) and all(body.get(name) == off[name] for name in off)
        if not is_off:
            self._add_reasoning(message, usage)
        if body.get("logprobs") and dialect.log_probabilities:
            first = {"top_logprobs": [{"token": "Yes", "logprob": -0.1}]}
            choice["logprobs"] = {"content": [first]}
        reply: Body = {"model": body["model"], "choices": [choice]}
        if dialect.counts:
            usage |= self._cached(body)
            reply["usage"] = usage
        return reply

    def _add_reasoning(self, message: Body, usage: dict[str, Any]) -> None:
        kind = self.dialect.reasoning
        text = message["content"]
        if kind == "block":
            message["content"] = f"<think>\nLet me see.\n</think>\n\n{text}"
        elif kind == "closing tag":
            message["content"] = f"Let me see.\n</think>\n\n{text}"
        elif kind == "field":
            message[self.dialect.reasoning_field] = "Let me see."
        elif kind == "counted":
            usage["completion_tokens_details"] = {"reasoning_tokens": 64}

    def _cached(self, body: Body) -> dict[str, Any]:
        is_repeated = body in self.chats[:-1] and len(str(body)) > 3000
        if not (self.dialect.caches and is_repeated):
            return {}
        return {"prompt_tokens_details": {"cached_tokens": 16}}


@contextmanager
def a_dialect_server(
    dialect: Dialect | None = None, **options: Any
) -> Iterator[DialectServer]:
    """Run a server for as long as the block lasts; `options` are fields of its dialect."""
    chat_server = DialectServer(dialect or Dialect(**options))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(lambda: chat_server.post(self.path, body))

        def do_GET(self) -> None:
            self._answer(lambda: chat_server.get(self.path))

        def _answer(self, answer: Any) -> None:
            dialect = chat_server.dialect
            if dialect.page:
                self._reply(dialect.page_status, dialect.page)
            elif dialect.key and self._key() != dialect.key:
                self._reply(401, {"error": {"message": "Incorrect API key provided"}})
            else:
                self._reply(*answer())

        def _key(self) -> str:
            return self.headers.get("Authorization", "").removeprefix("Bearer ")

        def _reply(self, status: int, content: Any) -> None:
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", chat_server.dialect.retry_after)
            for name, value in chat_server.dialect.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    poll = {"poll_interval": 0.02}
    thread = threading.Thread(target=server.serve_forever, kwargs=poll)
    thread.start()
    chat_server.root = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield chat_server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
