"""Explain from its log why a training failed."""

import re

# The first match counts, so what names its cause exactly comes before what merely hints at it.
_CAUSES = (
    (r"^cannot (?:train|serve): (?P<message>.+)", "{message}"),
    (
        r"No module named '?bitsandbytes|(?:requires|install) .?bitsandbytes",
        "training.quantize = '4bit' needs bitsandbytes, which training.python does not have; "
        "see scripts/install-train",
    ),
    (
        r"No module named '?"
        r"(?P<package>torch|transformers|trl|peft|datasets|accelerate|curves|lifeline)",
        "{package} is not installed in the training environment: create one with "
        "scripts/install-train and name its interpreter in training.python",
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        "out of GPU memory: stop a model server that uses it (`aidsafe engine stop`), lower "
        "batch_size (and raise gradient_accumulation) or training.max_length, or set "
        "training.quantize = '4bit'",
    ),
    (
        r"gated repo|GatedRepo|401 Client Error|403 Client Error",
        "the model is gated: accept its terms on the Hub and set HF_TOKEN",
    ),
    (
        r"Repository Not Found|RepositoryNotFound|RevisionNotFound"
        r"|not a valid model identifier|Repo id must be"
        r"|does not appear to have a file named|Unrecognized model in"
        r"|404 Client Error|Incorrect path_or_model_id",
        "there is no such model: check training.model and training.revision",
    ),
    (
        r"OfflineMode|LocalEntryNotFound|outgoing traffic has been disabled"
        r"|couldn't connect to 'https|Max retries exceeded|Name or service not known"
        r"|ConnectError|Cannot reach",
        "the model is not in the local cache and the Hub is unreachable",
    ),
    (
        r"Target modules .* not found|No modules were targeted|adapter to `lm_head`",
        "training.lora.target_modules names no layer of this model that can be adapted",
    ),
    (
        r"No CUDA GPUs are available|NVIDIA driver|no kernel image",
        "the GPU cannot be used; see the last lines of the log",
    ),
    (
        r"No space left on device",
        "the disk is full; checkpoints are written below the folder of the setting `home`",
    ),
)


def explain_failure(log: str) -> str | None:
    """Return the cause of a failed training and its remedy; None if the log has no known one."""
    for pattern, cause in _CAUSES:
        match = re.search(pattern, log, re.MULTILINE)
        if match:
            return cause.format(**match.groupdict())
    return None
