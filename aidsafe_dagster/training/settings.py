"""What a user sets of the training: the base model, the adapter, and the steps of SFT and of DPO.

The defaults are published ones. LoRA: those of TRL's `ModelConfig` (r 16, alpha 32, dropout 0.05) on all linear layers
(QLoRA, arXiv 2305.14314). SFT: QLoRA's 2e-4 at 16 rows a step for 7B models. DPO: beta 0.1 (arXiv 2305.18290), and the
5e-6 of Zephyr's QLoRA recipe.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from aidsafe_dagster.recipe.records import Record

Method = Literal["sft", "dpo"]


class LoraSettings(Record):
    r: int = Field(default=16, ge=1)
    """Rank of the update of each layer."""
    alpha: float = Field(default=32, gt=0)
    """Its scale: the update is multiplied by alpha / r."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: tuple[str, ...] = ()
    """Names of the layers that are adapted, `q_proj` for example; empty: all linear ones but the output layer."""


class StepSettings(Record):
    learning_rate: float = Field(gt=0)
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; wins over `epochs`."""
    batch_size: int = Field(default=4, ge=1)
    """Rows on the GPU at a time."""
    gradient_accumulation: int = Field(default=4, ge=1)
    """Batches to an optimizer step."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    scheduler: Literal["constant_with_warmup", "linear", "cosine"] = "cosine"
    log_every: int = Field(default=10, ge=1)
    """Steps between two points of the loss curve."""
    eval_every: int = Field(default=50, ge=1)
    """Steps between two looks at the validation split."""
    save_every: int = Field(default=50, ge=1)
    """Steps between two checkpoints, from which a run that was cut off goes on."""


class SftSettings(StepSettings):
    learning_rate: float = Field(default=2e-4, gt=0)
    epochs: float = Field(default=3, gt=0)


class DpoSettings(StepSettings):
    learning_rate: float = Field(default=5e-6, gt=0)
    epochs: float = Field(default=1, gt=0)
    beta: float = Field(default=0.1, gt=0)
    """How strongly the reference model holds the trained one back."""
    from_sft: bool = True
    """Start from the SFT adapter, which is then the reference too; False: from the base model."""


class TrainingSettings(Record):
    model: str = ""
    """The base model: a folder, or a model on the Hub. It needs a chat template."""
    revision: str = ""
    """Branch, tag or commit of a model on the Hub."""
    python: str = ""
    """The interpreter that has TRL (see `scripts/install-train`); empty: the one that runs this."""
    environment: Mapping[str, str] = {}
    """Variables for the training's process."""
    allow_simulated: bool = False
    """Train on rows of the rehearsal engine too; whatever comes of it is labelled as simulated."""
    quantize: Literal["none", "4bit"] = "none"
    """`4bit` is QLoRA: the base model in 4-bit NormalFloat. It needs a GPU and bitsandbytes."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 on a GPU that can, fp32 elsewhere."""
    gradient_checkpointing: bool = True
    """Less memory, about a fifth slower."""
    max_length: int = Field(default=2048, ge=16)
    """Tokens of prompt and answer together; a longer row is left out and counted, never cut."""
    seed: int = Field(default=0, ge=0)
    lora: LoraSettings = LoraSettings()
    sft: SftSettings = SftSettings()
    dpo: DpoSettings = DpoSettings()

    def recipe(self, method: Method) -> dict[str, Any]:
        """What makes one adapter another, but for the data: the base model and all that bears on the weights."""
        steps = self.dpo if method == "dpo" else self.sft
        shared = {
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
            **self.model_dump(mode="json", include=shared),
            "steps": steps.model_dump(
                mode="json", exclude={"log_every", "eval_every", "save_every"}
            ),
        }

    def within(self, folder: Path) -> "TrainingSettings":
        """The same with the relative paths of model and interpreter taken from a folder."""
        changes = {}
        if self.model and (folder / self.model).exists():
            changes["model"] = str(folder / self.model)
        if "/" in self.python:
            changes["python"] = str(folder / Path(self.python).expanduser())
        return self.model_copy(update=changes)
