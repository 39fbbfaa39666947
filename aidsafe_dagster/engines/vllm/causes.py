"""Why a vLLM server did not start: what its log says, in plain words."""

import re

_CAUSES = (
    (
        r"No module named '?vllm",
        "vLLM is not installed in this environment; see 'GPUs' in the README",
    ),
    (
        r"out of memory|OutOfMemoryError|No available memory for the cache"
        r"|less than desired GPU memory"
        r"|larger than the maximum number of tokens that can be stored",
        "out of memory: lower vllm.max_model_len or vllm.max_num_seqs, "
        "use more GPUs (vllm.tensor_parallel_size)",
    ),
    (
        # Before the names of models: a missing adapter is reported in the same words.
        r"Loading lora .* failed|No adapter found for|LoRA rank",
        "an adapter of vllm.lora_adapters cannot be loaded: check that its folder is there and "
        "that it was trained on vllm.model",
    ),
    (
        r"gated repo|GatedRepo|restricted|401 Client Error",
        "the model is gated: accept its terms on the Hub and set HF_TOKEN",
    ),
    (
        r"Repository Not Found|RepositoryNotFound|not a valid model identifier"
        r"|Invalid repository ID|Repo id must be|does not appear to have a file named"
        r"|404 Client Error",
        "there is no such model: check vllm.model and vllm.revision",
    ),
    (
        r"OfflineMode|LocalEntryNotFound|outgoing traffic has been disabled"
        r"|couldn't connect to 'https|Max retries exceeded|Name or service not known|ConnectError",
        "the model is not in the local cache and the Hub is out of reach",
    ),
    (
        r"No CUDA GPUs are available|Failed to infer device type|NVIDIA driver"
        r"|no CUDA-capable device|libcuda",
        "no usable GPU here: set engine to an endpoint, or run where there is one",
    ),
    (
        r"[Aa]ddress already in use",
        "the port is taken: set another vllm.port, or 0 for any free one",
    ),
    (
        r"unrecognized arguments|invalid choice|error: argument|expected one argument",
        "vLLM does not know an argument: check vllm.extra_args",
    ),
)
"""Pattern and cause. The first one that matches wins."""


def explain(log: str) -> str | None:
    """Return why a server ended, according to its log; None if the log says nothing known."""
    for pattern, cause in _CAUSES:
        if re.search(pattern, log):
            return cause
    return None
