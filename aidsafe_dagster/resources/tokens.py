"""Which token counter is in force: a named tokenizer, the served model's own, the server, or an
estimate.
"""

from pathlib import Path

from huggingface_hub import hf_hub_download

from aidsafe_dagster.engines.tokenize import server_token_count
from aidsafe_dagster.quality.tokens import TokenCounter, load_token_counter
from aidsafe_dagster.settings.schema import Settings


def token_counter(settings: Settings) -> TokenCounter:
    """The counter in force.

    First the `tokenizer` of the settings; else that of the vLLM model; else the endpoint's
    `/tokenize`, if it is said to have one; else the estimate.

    Raises:
        SetupError: a tokenizer that is named cannot be loaded.
    """
    if settings.tokenizer:
        return load_token_counter(settings.tokenizer)
    if settings.engine == "vllm" and (
        file := _tokenizer_of(settings.vllm.model, settings.vllm.revision)
    ):
        return load_token_counter(file)
    if settings.engine == "endpoint" and settings.endpoint.tokenize:
        return TokenCounter(
            "the endpoint's /tokenize", exact=True, count=server_token_count(settings.endpoint)
        )
    return load_token_counter(None)


def _tokenizer_of(model: str, revision: str) -> Path | None:
    """The model's tokenizer.json, from its folder or the Hub; None where there is none to be
    had.
    """
    if Path(model).is_dir():
        file = Path(model) / "tokenizer.json"
        return file if file.exists() else None
    try:
        return Path(hf_hub_download(model, "tokenizer.json", revision=revision or None))
    except Exception:  # noqa: BLE001 - offline, gated, or a model without one: then lengths are estimates, and say so
        return None
