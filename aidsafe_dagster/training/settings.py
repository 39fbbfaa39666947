"""Settings of training: the base model, the adapter, and the steps of SFT and DPO.

The defaults are published values. LoRA: TRL's `ModelConfig` (r 16, alpha 32, dropout 0.05) on all
linear layers (QLoRA, arXiv 2305.14314). SFT: QLoRA's 2e-4 at 16 rows per step for 7B models. DPO:
beta 0.1 (arXiv 2305.18290), and the 5e-6 of Zephyr's QLoRA recipe.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from aidsafe_dagster.recipe.records import Record

Method = Literal["sft", "dpo"]
REPORTING_STEPS = {"log_every", "eval_every", "save_every"}
"""Step settings that do not affect the weights."""


class LoraSettings(Record):
    r: int = Field(default=16, ge=1)
    """Rank of each layer's update."""
    alpha: float = Field(default=32, gt=0)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: tuple[str, ...] = ()
    """Layers to adapt, such as `q_proj`; empty: all linear layers except the output layer."""


class StepSettings(Record):
    learning_rate: float = Field(gt=0)
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; takes precedence over `epochs`."""
    batch_size: int = Field(default=4, ge=1)
    """Rows on the GPU at a time."""
    gradient_accumulation: int = Field(default=4, ge=1)
    """Batches per optimizer step."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps during which the learning rate rises."""
    scheduler: Literal["constant_with_warmup", "linear", "cosine"] = "cosine"
    log_every: int = Field(default=10, ge=1)
    """Steps between two points of the loss curve."""
    eval_every: int = Field(default=50, ge=1)
    """Steps between two evaluations on the validation split."""
    save_every: int = Field(default=50, ge=1)
    """Steps between two checkpoints, from which an interrupted run resumes."""


class SftSettings(StepSettings):
    learning_rate: float = Field(default=2e-4, gt=0)
    epochs: float = Field(default=3, gt=0)


class DpoSettings(StepSettings):
    learning_rate: float = Field(default=5e-6, gt=0)
    epochs: float = Field(default=1, gt=0)
    beta: float = Field(default=0.1, gt=0)
    """How strongly the trained model is kept close to the reference model."""
    from_sft: bool = True
    """Start from the SFT adapter, which is then also the reference; False: from the base model."""
    from_adapter: str = ""
    """Start from the adapter in this folder instead. It is then also the reference."""


class TrainingSettings(Record):
    model: str = ""
    """Base model: a folder, or a model on the Hub. It needs a chat template."""
    revision: str = ""
    """Branch, tag or commit of a model on the Hub."""
    python: str = ""
    """Interpreter that has TRL (see `scripts/install-train`); empty: the running one."""
    environment: Mapping[str, str] = {}
    """Environment variables of the training process."""
    allow_simulated: bool = False
    """Also train on rows of the rehearsal engine; the adapter is labelled as simulated."""
    quantize: Literal["none", "4bit"] = "none"
    """`4bit` is QLoRA: the base model in 4-bit NormalFloat. It needs a GPU and bitsandbytes."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 on a GPU that supports it, else fp32."""
    gradient_checkpointing: bool = True
    """Uses less memory and is about a fifth slower."""
    max_length: int = Field(default=2048, ge=16)
    """Tokens of prompt and answer together; longer rows are left out and counted, never cut."""
    seed: int = Field(default=0, ge=0)
    answers_at_once: int = Field(default=8, ge=1)
    """Questions that the base model and its adapters answer together, where the training
    environment serves them for an experiment."""
    lora: LoraSettings = LoraSettings()
    sft: SftSettings = SftSettings()
    dpo: DpoSettings = DpoSettings()

    def recipe(self, method: Method) -> dict[str, Any]:
        """Return the settings that affect the weights; with the data, they identify an adapter."""
        steps = self.dpo if method == "dpo" else self.sft
        relevant = {
            "model",
            "revision",
            "quantize",
            "precision",
            "gradient_checkpointing",
            "max_length",
            "seed",
            "lora",
        }
        return {
            "method": method,
            **self.model_dump(mode="json", include=relevant),
            # Where an adapter lies says nothing of its weights. Their hash counts by itself.
            "steps": steps.model_dump(
                mode="json", exclude=REPORTING_STEPS | {"from_adapter"}
            ),
        }

    def within(self, folder: Path) -> "TrainingSettings":
        """Return a copy whose paths of model and interpreter are resolved against the folder."""
        changes: dict[str, Any] = {}
        # A name on the Hub looks like a relative path, so only an existing folder is one.
        if self.model and (folder / self.model).exists():
            changes["model"] = str(folder / self.model)
        # A bare name is looked up in PATH.
        if "/" in self.python:
            interpreter = Path(self.python).expanduser()
            changes["python"] = str(folder / interpreter)
        if self.dpo.from_adapter:
            start = folder / Path(self.dpo.from_adapter).expanduser()
            dpo = self.dpo.model_copy(update={"from_adapter": str(start)})
            changes["dpo"] = dpo
        return self.model_copy(update=changes)
