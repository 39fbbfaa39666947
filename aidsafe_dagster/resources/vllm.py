"""vLLM as a Dagster resource: what the launchpad may change of the managed server for one run.

Everything else is in the settings (`[vllm]`). Other arguments make another server: they never reuse
a running one.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.settings.launchpad import LaunchpadSettings, refuse_repointing


class VLLMResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Each field left out is as the settings say; see `VLLMSettings` for what it means."""

    model: str | None = Field(
        default=None, description="a folder, or a model on the Hub"
    )
    revision: str | None = Field(
        default=None, description="branch, tag or commit of a model on the Hub"
    )
    dtype: str | None = Field(
        default=None, description="as vLLM takes it; 'auto' by default"
    )
    tensor_parallel_size: int | None = Field(
        default=None, description="GPUs that one copy of the model is spread over"
    )
    data_parallel_size: int | None = Field(
        default=None, description="copies of the model"
    )
    max_model_len: int | None = Field(
        default=None, description="tokens of prompt and answer together"
    )
    gpu_memory_utilization: float | None = Field(
        default=None, description="share of the GPU's memory, 0 to 1"
    )
    max_num_seqs: int | None = Field(
        default=None, description="calls that one copy works on at a time"
    )
    lora_adapters: dict[str, str] | None = Field(
        default=None, description="name → folder or Hub id"
    )
    extra_args: list[str] | None = Field(
        default=None, description="further arguments of `vllm serve`"
    )

    def in_force(
        self, settings: VLLMSettings, launchpad: LaunchpadSettings
    ) -> VLLMSettings:
        """Return the settings with what this run changes.

        Raises:
            SetupError: a value that a run must not change.
            pydantic.ValidationError: a value that the settings refuse.
        """
        changes: dict[str, Any] = {}
        for name in VLLMSettings.model_fields:
            value = getattr(self, name, None)
            if value is not None:
                changes[name] = value
        refuse_repointing({"vllm": changes}, launchpad)
        # Not `model_copy`, which would take any value from the launchpad unchecked.
        return VLLMSettings.model_validate(settings.model_dump() | changes)
