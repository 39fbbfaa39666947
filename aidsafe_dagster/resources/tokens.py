"""Which token counter is in force: a named tokenizer, the served model's own, the server, or an
estimate.
"""

from pathlib import Path

from aidsafe_dagster.engines.tokenize import server_token_count
from aidsafe_dagster.quality.tokens import TokenCounter, load_token_counter
from aidsafe_dagster.settings.schema import Settings


def token_counter(settings: Settings) -> TokenCounter:
    """Return the counter in force.

    In this order: the `tokenizer` of the settings, that of the vLLM model, the endpoint's
    `/tokenize` if the settings say that it has one, the estimate.

    Raises:
        SetupError: a tokenizer that the settings name cannot be loaded.
    """
    if settings.tokenizer:
        return load_token_counter(settings.tokenizer)
    if settings.engine == "vllm":
        file = _tokenizer_file(settings.vllm.model, settings.vllm.revision)
        if file is not None:
            return load_token_counter(file)
    # Only on request: a server without that route would fail every count.
    if settings.engine == "endpoint" and settings.endpoint.tokenize:
        count = server_token_count(settings.endpoint)
        return TokenCounter("the endpoint's /tokenize", exact=True, count=count)
    return load_token_counter(None)


def _tokenizer_file(model: str, revision: str) -> Path | None:
    """Return the model's tokenizer.json from its folder or the Hub; None where there is none."""
    if Path(model).is_dir():
        file = Path(model) / "tokenizer.json"
        return file if file.exists() else None
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - only vLLM needs it

    try:
        return Path(hf_hub_download(model, "tokenizer.json", revision=revision or None))
    # Offline, gated, or a model without one. Lengths are estimates then, and labelled so.
    except Exception:  # noqa: BLE001
        return None
