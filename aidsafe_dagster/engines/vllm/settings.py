"""What a user sets of the managed vLLM server, and the command line that follows from it."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from aidsafe_dagster.recipe.records import Record


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
    """Tokens of prompt and answer together; None: what the model can."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    max_num_seqs: int = Field(default=256, ge=1)
    """Calls that one copy works on at a time; times the copies, the default of `driver.calls_in_flight`."""
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
    """Stop the server when nobody has used it for so long."""
    max_restarts: int = Field(default=3, ge=0)
    """How often a run starts the server again after it died."""
    state: Path = Path("~/.cache/aidsafe_dagster/vllm")
    """The folder that processes share the server through."""

    @property
    def slots(self) -> int:
        return self.max_num_seqs * self.data_parallel_size

    @property
    def gpus(self) -> int:
        return self.tensor_parallel_size * self.data_parallel_size

    def arguments(self) -> list[str]:
        """Of the server, but for host and port."""
        lengths = ["--max-model-len", str(self.max_model_len)] if self.max_model_len else []
        revision = ["--revision", self.revision] if self.revision else []
        adapters = [f"{name}={path}" for name, path in self.lora_adapters.items()]
        structured = {"backend": "guidance", "disable_any_whitespace": True}
        return [
            *(
                "--model",
                self.model,
                *revision,
                "--served-model-name",
                self.model,
                "--dtype",
                self.dtype,
            ),
            *("--tensor-parallel-size", str(self.tensor_parallel_size)),
            *("--data-parallel-size", str(self.data_parallel_size)),
            *(
                "--gpu-memory-utilization",
                str(self.gpu_memory_utilization),
                "--max-num-seqs",
                str(self.max_num_seqs),
            ),
            *lengths,
            *(["--enable-lora", "--lora-modules", *adapters] if adapters else []),
            *("--enable-prompt-tokens-details", "--scheduling-policy", "priority"),
            *("--structured-outputs-config", json.dumps(structured)),
            *self.extra_args,
        ]

    def _weights(self) -> list[object]:
        """Marks of the adapters' files: one trained again in the same folder is not what a server has loaded."""
        folders = map(Path, self.lora_adapters.values())
        files = [file for folder in folders for file in sorted(folder.glob("adapter_model.*"))]
        return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    @property
    def fingerprint(self) -> str:
        """Hash of what makes this server another one."""
        what = [
            self.python or sys.executable,
            self.arguments(),
            sorted(self.environment.items()),
            self.port,
        ]
        what += self._weights()
        return hashlib.blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()
