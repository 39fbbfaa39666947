"""Why a training ended early: what its log says, in a person's words."""

import re

_CAUSES = (
    (r"^cannot train: (?P<told>.+)", "{told}"),
    (
        r"No module named '?(?P<told>bitsandbytes)|(?P<also>requires|install) .?bitsandbytes",
        "training.quantize = '4bit' needs bitsandbytes, which training.python does not have; see scripts/install-train",
    ),
    (
        r"No module named '?(?P<told>torch|transformers|trl|peft|datasets|accelerate|curves|lifeline)",
        "{told} is not installed there: make an environment with scripts/install-train and name its interpreter in "
        "training.python",
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        "out of GPU memory: end a model server that holds it (`aidsafe engine stop`), lower batch_size (and raise "
        "gradient_accumulation) or training.max_length, or set training.quantize = '4bit'",
    ),
    (
        r"gated repo|GatedRepo|401 Client Error|403 Client Error",
        "the model is gated: accept its terms on the Hub and set HF_TOKEN",
    ),
    (
        r"Repository Not Found|RepositoryNotFound|RevisionNotFound|not a valid model identifier|Repo id must be"
        r"|does not appear to have a file named|Unrecognized model in|404 Client Error|Incorrect path_or_model_id",
        "there is no such model: check training.model and training.revision",
    ),
    (
        r"OfflineMode|LocalEntryNotFound|outgoing traffic has been disabled|couldn't connect to 'https"
        r"|Max retries exceeded|Name or service not known|ConnectError|Cannot reach",
        "the model is not in the local cache and the Hub is out of reach",
    ),
    (
        r"Target modules .* not found|No modules were targeted|adapter to `lm_head`",
        "training.lora.target_modules names no layer of this model that can be adapted",
    ),
    (
        r"No CUDA GPUs are available|NVIDIA driver|no kernel image",
        "the GPU cannot be used; see the log's last lines",
    ),
    (
        r"No space left on device",
        "the disk is full; checkpoints are written below the folder of the setting `home`",
    ),
)


def explain(log: str) -> str | None:
    """What a training's log says of why it ended; None if it says nothing known."""
    for pattern, cause in _CAUSES:
        if found := re.search(pattern, log, re.MULTILINE):
            return cause.format(**found.groupdict())
    return None
