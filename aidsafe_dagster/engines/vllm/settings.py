"""What a user sets about the managed vLLM server, and the command line that follows from it."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from aidsafe_dagster.engines.settings import VLLM_CONTINUATION, ServerSettings
from aidsafe_dagster.recipe.records import Record

_NOT_ON_TEXT = re.compile(
    r"(host|port|uvicorn|api-server|disable-log|enable-log|log-|max-log|otlp|ssl|root-path"
    r"|enable-prompt-tokens-details|enable-prefix-caching|no-enable-prefix-caching"
    r"|enable-chunked-prefill|no-enable-chunked-prefill|enforce-eager|compilation-config"
    r"|block-size|swap-space|gpu-memory|kv-cache-memory|num-gpu-blocks|cpu-offload"
    r"|max-num-|max-model-len|max-seq-len|max-cpu-loras|scheduling|stream-interval"
    r"|tensor-parallel|pipeline-parallel|data-parallel|distributed|nnodes|node-rank"
    r"|master|worker|device|download-dir|load-format|num-scheduler|async-scheduling"
    r"|tool-|enable-auto-tool|enable-lora|max-loras|max-lora-rank|lora-modules)"
)
"""Beginnings of the names of arguments of `vllm serve` that leave the answers as they are. An
argument that is not known here counts as bearing on them, since a wrong replay costs more than
calls."""

_LORA_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes, from its default upwards."""


class VLLMSettings(Record):
    model: str = ""
    """A folder, or a model on the Hub."""
    revision: str = ""
    """Branch, tag or commit of a model on the Hub."""
    dtype: str = "auto"
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs that one copy of the model is spread over."""
    data_parallel_size: int = Field(default=1, ge=1)
    """Copies of the model."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Tokens of prompt and answer together; None: the model's own limit."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    max_num_seqs: int = Field(default=256, ge=1)
    """Calls that one copy works on at a time.

    Times the copies, this is the default of `driver.calls_in_flight`.
    """
    lora_adapters: Mapping[str, str] = {}
    """Name → folder or Hub id; a role can name an adapter as its model."""
    extra_args: tuple[str, ...] = ()
    """Further arguments of `vllm serve`."""
    environment: Mapping[str, str] = {}
    """Variables for the server's process."""
    python: str = ""
    """The interpreter that has vLLM; empty: the one that runs this."""
    port: int = Field(default=0, ge=0, le=65535)
    """0: any free one."""
    start_timeout_s: float = Field(default=1800, gt=0)
    idle_stop_s: float = Field(default=1800, ge=0)
    """Stop the server when nobody has used it for this long."""
    max_restarts: int = Field(default=3, ge=0)
    """How often a run starts the server again after it died."""
    state: Path = Path("~/.cache/aidsafe_dagster/vllm")
    """The folder through which processes share the server."""

    @property
    def slots(self) -> int:
        return self.max_num_seqs * self.data_parallel_size

    @property
    def gpus(self) -> int:
        return self.tensor_parallel_size * self.data_parallel_size

    def arguments(self) -> list[str]:
        """Return the server's arguments, except host and port."""
        arguments = ["--model", self.model]
        if self.revision:
            arguments += ["--revision", self.revision]
        arguments += ["--served-model-name", self.model]
        arguments += ["--dtype", self.dtype]
        arguments += ["--tensor-parallel-size", str(self.tensor_parallel_size)]
        arguments += ["--data-parallel-size", str(self.data_parallel_size)]
        arguments += ["--gpu-memory-utilization", str(self.gpu_memory_utilization)]
        arguments += ["--max-num-seqs", str(self.max_num_seqs)]
        if self.max_model_len:
            arguments += ["--max-model-len", str(self.max_model_len)]
        if self.lora_adapters:
            adapters = [f"{name}={path}" for name, path in self.lora_adapters.items()]
            arguments += ["--enable-lora", "--lora-modules", *adapters]
            rank = max(map(_rank_of, self.lora_adapters.values()))
            arguments += ["--max-lora-rank", str(_allowed_rank(rank))]
        # Without it the server does not say how many tokens came from its prefix cache.
        arguments += ["--enable-prompt-tokens-details"]
        arguments += ["--scheduling-policy", "priority"]
        # With the default backend, 29 % of a random model's answers were not strict JSON.
        structured_outputs = {"backend": "guidance", "disable_any_whitespace": True}
        arguments += ["--structured-outputs-config", json.dumps(structured_outputs)]
        # Last, since of two equal options the later one counts.
        return [*arguments, *self.extra_args]

    def served(self, server: ServerSettings, root: str = "") -> ServerSettings:
        """Return the settings of requests to the managed server at `root`."""
        # A role may name an adapter. The server's own model and revision stand for the others.
        is_adapter = server.model in self.lora_adapters
        changes = {
            "base_url": f"{root}/v1",
            "model": server.model if is_adapter else self.model,
            "revision": server.revision or self.revision,
            "slots": self.slots,
            # The server is started with `--scheduling-policy priority`.
            "priority": True,
            "end_loops": "server" if server.end_loops == "auto" else server.end_loops,
            "continuation": server.continuation or VLLM_CONTINUATION,
        }
        return server.model_copy(update=changes)

    def answer_options(self, model: str) -> dict[str, Any]:
        """Return what of the arguments bears on a model's answers, for the journal's key.

        Empty where nothing of that is set, as in journals of earlier releases.
        """
        options: dict[str, Any] = {}
        if self.dtype != "auto":
            options["dtype"] = self.dtype
        text_arguments = _arguments_that_bear_on_text(self.extra_args)
        if text_arguments:
            options["vllm_arguments"] = text_arguments
        adapter = self.lora_adapters.get(model)
        if adapter:
            options["adapter"] = [adapter, *_weights_of(adapter)]
        return options

    @property
    def fingerprint(self) -> str:
        """Hash of everything that makes this server another one."""
        parts = [
            self.python or sys.executable,
            self.arguments(),
            sorted(self.environment.items()),
            self.port,
            *self._adapter_weights(),
        ]
        text = json.dumps(parts)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def _adapter_weights(self) -> list[tuple[str, int, int]]:
        """Return path, size and time of the adapters' files.

        An adapter that was trained again in the same folder is not what a server has loaded.
        """
        weights = []
        for folder in self.lora_adapters.values():
            weights.extend(_weights_of(folder))
        return weights


def _rank_of(adapter: str) -> int:
    """Return the rank of an adapter; of one on the Hub, which is not here to read, the default."""
    try:
        config = json.loads((Path(adapter) / "adapter_config.json").read_bytes())
        return int(config["r"])
    except (OSError, ValueError, LookupError, TypeError):
        return _LORA_RANKS[0]


def _allowed_rank(rank: int) -> int:
    """Return the smallest rank that the server can reserve room for and that holds this one."""
    for allowed in _LORA_RANKS:
        if rank <= allowed:
            return allowed
    # Too large: the server says so.
    return rank


def _weights_of(adapter: str) -> list[tuple[str, int, int]]:
    # For an adapter on the Hub no file matches, and only its id counts.
    weights = []
    for file in sorted(Path(adapter).glob("adapter_model.*")):
        stat = file.stat()
        weights.append((str(file), stat.st_size, stat.st_mtime_ns))
    return weights


def _arguments_that_bear_on_text(arguments: Sequence[str]) -> list[str]:
    """Leave out arguments that concern memory, speed, the network or the log, with their values."""
    kept: list[str] = []
    is_kept = True
    for argument in arguments:
        if argument.startswith("--"):
            name = argument.removeprefix("--").partition("=")[0]
            is_kept = not _NOT_ON_TEXT.match(name)
        if is_kept:
            kept.append(argument)
    return kept
