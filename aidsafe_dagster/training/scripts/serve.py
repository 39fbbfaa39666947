"""Serve a base model and LoRA adapters of it: `python serve.py CONFIG.json [PARENT PID]`.

The part of OpenAI's API that an evaluation needs, on this machine alone: `/v1/models` and
`/v1/chat/completions`. A request names an adapter as its model; any other name is the base model.
Requests that wait for the same model are answered together. The port is written to a file when the
model is loaded.
"""

import json
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from adapter import load_model, load_tokenizer, main
from peft import PeftModel

_DEFAULT_TOKENS = 512
_WAIT_FOR_MORE_S = 0.05


@dataclass
class Request:
    """A request that waits for its answer."""

    model: str
    prompt: list[int]
    max_tokens: int
    temperature: float
    seed: int
    reply: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def kind(self) -> tuple[str, float, int]:
        """Requests of one kind are answered together; those that sample are answered alone."""
        return (self.model, self.temperature, self.seed if self.temperature else 0)


class Models:
    """The base model with its adapters, one of which is active at a time."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.tokenizer = load_tokenizer(config)
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        model = load_model(config)
        self.adapters: dict[str, str] = config["adapters"]
        for name, folder in self.adapters.items():
            if isinstance(model, PeftModel):
                model.load_adapter(folder, adapter_name=name)
            else:
                model = PeftModel.from_pretrained(model, folder, adapter_name=name)
        if torch.cuda.is_available():
            model = model.to("cuda")
        self.model = model.eval()
        self.length = int(getattr(model.config, "max_position_embeddings", 4096))

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        tokens = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        return list(tokens)

    @contextmanager
    def _as(self, name: str) -> Iterator[None]:
        is_base = name not in self.adapters
        if not is_base:
            self.model.set_adapter(name)
        without = nullcontext()
        if is_base and isinstance(self.model, PeftModel):
            without = self.model.disable_adapter()
        with without:
            yield

    def answer(self, requests: list[Request]) -> None:
        """Answer requests of one kind together."""
        first = requests[0]
        longest = max(len(request.prompt) for request in requests)
        room = self.length - longest
        limit = min(room, max(request.max_tokens for request in requests))
        pad = self.tokenizer.pad_token_id
        # Padded on the left, so that every prompt ends where its answer begins.
        rows = [[pad] * (longest - len(r.prompt)) + r.prompt for r in requests]
        masks = [
            [0] * (longest - len(r.prompt)) + [1] * len(r.prompt) for r in requests
        ]
        device = next(self.model.parameters()).device
        sampling: dict[str, Any] = {
            "do_sample": False,
            "temperature": None,
            "top_p": None,
            "top_k": None,
        }
        if first.temperature > 0:
            torch.manual_seed(first.seed)
            sampling = {"do_sample": True, "temperature": first.temperature}
        with self._as(first.model), torch.inference_mode():
            output = self.model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(masks, device=device),
                max_new_tokens=limit,
                pad_token_id=pad,
                **sampling,
            )
        for request, tokens in zip(requests, output[:, longest:].tolist(), strict=True):
            request.reply = self._reply(request, tokens)

    def _reply(self, request: Request, tokens: list[int]) -> dict[str, Any]:
        ends = self.model.generation_config.eos_token_id
        end_tokens = set(ends if isinstance(ends, list) else [ends])
        end_tokens.add(self.tokenizer.eos_token_id)
        said, finish = tokens[: request.max_tokens], "length"
        for position, token in enumerate(said):
            if token in end_tokens:
                said, finish = said[:position], "stop"
                break
        text = self.tokenizer.decode(said, skip_special_tokens=True)
        if not text.strip():
            # A model that says nothing but special tokens has answered, and badly. Of a token that
            # stands for no text, at least the number can be told.
            first = self.tokenizer.decode(tokens[:1]).strip()
            text = first or f"<|token {tokens[0]}|>"
        return {
            "object": "chat.completion",
            "model": request.model,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": text},
                }
            ],
            "usage": {
                "prompt_tokens": len(request.prompt),
                "completion_tokens": len(said),
                "total_tokens": len(request.prompt) + len(said),
            },
        }


class Worker(threading.Thread):
    """Answers what waits, several at a time. The model is used by this thread alone."""

    def __init__(self, models: Models, batch: int) -> None:
        super().__init__(daemon=True)
        self.models = models
        self.batch = batch
        self.waiting: queue.Queue[Request] = queue.Queue()
        self._held: list[Request] = []

    def run(self) -> None:
        while True:
            requests = self._next()
            try:
                self.models.answer(requests)
            except (RuntimeError, ValueError, IndexError) as error:
                # Of these requests alone: memory may suffice for the next ones.
                for request in requests:
                    request.reply = {"error": {"message": str(error)[:500]}}
            for request in requests:
                request.done.set()

    def _next(self) -> list[Request]:
        if not self._held:
            self._held.append(self.waiting.get())
        while len(self._held) < self.batch:
            try:
                self._held.append(self.waiting.get(timeout=_WAIT_FOR_MORE_S))
            except queue.Empty:
                break
        kind = self._held[0].kind
        taken = [request for request in self._held if request.kind == kind]
        self._held = [request for request in self._held if request.kind != kind]
        if kind[1] > 0:
            self._held = taken[1:] + self._held
            taken = taken[:1]
        return taken


def handler_of(models: Models, worker: Worker) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Say nothing: prompts may be harmful, and a log of them helps nobody."""

        def do_GET(self) -> None:
            names = ["base", *models.adapters]
            listed = [
                {"id": name, "object": "model", "max_model_len": models.length}
                for name in names
            ]
            self._send(200, {"object": "list", "data": listed})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length))
            try:
                prompt = models.encode(body["messages"])
            except Exception as error:  # noqa: BLE001 - a template raises what it likes
                self._send(400, {"error": {"message": f"chat template: {error}"}})
                return
            if len(prompt) >= models.length:
                message = (
                    f"This model's maximum context length is {models.length} tokens. However, "
                    f"your request has {len(prompt)} input tokens."
                )
                self._send(400, {"error": {"message": message}})
                return
            request = Request(
                model=str(body.get("model", "")),
                prompt=prompt,
                max_tokens=int(
                    body.get("max_tokens")
                    or body.get("max_completion_tokens")
                    or _DEFAULT_TOKENS
                ),
                temperature=float(body.get("temperature") or 0),
                seed=int(body.get("seed") or 0) % 2**31,
            )
            worker.waiting.put(request)
            request.done.wait()
            self._send(500 if "error" in request.reply else 200, request.reply)

        def _send(self, status: int, reply: dict[str, Any]) -> None:
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def serve(config: dict[str, Any]) -> None:
    models = Models(config)
    worker = Worker(models, config["batch"])
    worker.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(models, worker))
    place = Path(config["port_file"])
    # Renamed into place, so that nobody reads half a number.
    unfinished = place.with_suffix(".new")
    unfinished.write_text(str(server.server_port))
    unfinished.replace(place)
    print(f"serving on port {server.server_port}")
    server.serve_forever()


if __name__ == "__main__":
    try:
        main(serve)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot serve: {error}")
