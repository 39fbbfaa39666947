"""What SFT and DPO share: base model, tokenizer, LoRA, the arguments of TRL's trainers, and how a training ends.

These scripts run in the training environment: they import torch, the Hugging Face libraries and the standard library,
and nothing of aidsafe_dagster. Each is given a JSON file that `aidsafe_dagster/training/run.py` writes.
"""

import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from curves import Curves
from lifeline import end_with
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PrinterCallback,
)
from transformers.utils.logging import disable_progress_bar

EVALUATED = (
    "eval_loss",
    "eval_mean_token_accuracy",
    "eval_rewards/accuracies",
    "eval_rewards/margins",
)
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


class CannotTrain(Exception):
    """A mistake in model, settings or data, in words that a person reads."""


def main(train: Callable[[dict[str, Any]], None]) -> None:
    """Runs a training on the JSON file that the command line names; a second argument is the pid to end with."""
    if len(sys.argv) > 2:
        end_with(int(sys.argv[2]))
    disable_progress_bar()
    try:
        train(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    except CannotTrain as error:
        sys.exit(f"cannot train: {error}")


def load_tokenizer(config: dict[str, Any]) -> Any:
    print(f"loading {config['model']}")
    tokenizer = AutoTokenizer.from_pretrained(config["model"], revision=config["revision"] or None)
    if not tokenizer.chat_template:
        raise CannotTrain(
            f"{config['model']} has no chat template: take a chat model, or add one to its folder"
        )
    return tokenizer


def load_model(config: dict[str, Any]) -> Any:
    """The base model, in 4-bit NormalFloat with double quantization where it is asked for (QLoRA, section 3)."""
    dtype = torch.bfloat16 if uses_bf16(config) else torch.float32
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return AutoModelForCausalLM.from_pretrained(
        config["model"],
        revision=config["revision"] or None,
        dtype=dtype,
        quantization_config=quantization if config["quantize"] == "4bit" else None,
    )


def lora(config: dict[str, Any]) -> LoraConfig:
    chosen = config["lora"]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=chosen["r"],
        lora_alpha=chosen["alpha"],
        lora_dropout=chosen["dropout"],
        target_modules=chosen["target_modules"] or "all-linear",
    )


def arguments(config: dict[str, Any], *, evaluates: bool) -> dict[str, Any]:
    """Keyword arguments that TRL's configurations of SFT and DPO have in common."""
    steps = config["steps"]
    return {
        "output_dir": str(Path(config["work"]) / "checkpoints"),
        "learning_rate": steps["learning_rate"],
        "num_train_epochs": steps["epochs"],
        "max_steps": steps["max_steps"] or -1,
        "per_device_train_batch_size": steps["batch_size"],
        "per_device_eval_batch_size": steps["batch_size"],
        "gradient_accumulation_steps": steps["gradient_accumulation"],
        "warmup_steps": steps["warmup"],
        "lr_scheduler_type": steps["scheduler"],
        "max_length": config["max_length"],
        "gradient_checkpointing": config["gradient_checkpointing"],
        "seed": config["seed"],
        "bf16": uses_bf16(config),
        "logging_steps": config["log_every"],
        "logging_first_step": True,
        "save_steps": config["save_every"],
        "save_total_limit": 1,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": config["eval_every"],
        "eval_on_start": evaluates and last_checkpoint(config) is None,
        "report_to": "none",
        "disable_tqdm": True,
    }


def uses_bf16(config: dict[str, Any]) -> bool:
    if config["precision"] == "auto":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    return bool(config["precision"] == "bf16")


def last_checkpoint(config: dict[str, Any]) -> str | None:
    """The latest whole checkpoint: the state is the last of its files to be written."""
    states = Path(config["work"]).glob("checkpoints/checkpoint-*/trainer_state.json")
    found = max(
        (state.parent for state in states),
        key=lambda folder: int(folder.name.split("-")[1]),
        default=None,
    )
    return str(found) if found else None


def finish(trainer: Any, config: dict[str, Any], rows: Any, notes: dict[str, Any]) -> None:
    """Trains to the end, from the last checkpoint if there is one; writes the adapter, then `result.json`.

    `rows` are the splits (`rows.Rows`), `notes` what the method has to tell besides.
    """
    work = Path(config["work"])
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Curves(work / "metrics.jsonl"))
    checkpoint = last_checkpoint(config)
    print(f"going on from {Path(checkpoint).name}" if checkpoint else "training")
    trainer.train(resume_from_checkpoint=checkpoint)
    found = _final(trainer, rows)
    trainer.model.save_pretrained(str(work / "adapter"), selected_adapters=["default"])
    trainer.processing_class.save_pretrained(str(work / "adapter"))
    (work / "result.json").write_text(
        json.dumps(found | notes | rows.counts() | _machine(trainer.model, config))
    )


def _final(trainer: Any, rows: Any) -> dict[str, float]:
    """Steps, losses, and for DPO what TRL says of the rewards (`eval_rewards/margins` → `eval_rewards_margins`)."""
    state = trainer.state
    losses = [logs["loss"] for logs in state.log_history if "loss" in logs]
    found = {"steps": state.global_step, "epochs": state.epoch, "train_loss": losses[-1]}
    if len(rows.validation):
        seen = [
            logs
            for logs in state.log_history
            if "eval_loss" in logs and logs["step"] == state.global_step
        ]
        evaluated = seen[-1] if seen else trainer.evaluate()
        found |= {key.replace("/", "_"): evaluated[key] for key in EVALUATED if key in evaluated}
    if len(rows.test):
        found["test_loss"] = trainer.evaluate(rows.test, metric_key_prefix="test")["test_loss"]
    return found


def _machine(model: Any, config: dict[str, Any]) -> dict[str, Any]:
    gpu = torch.cuda.is_available()
    return {
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "precision": "bf16" if uses_bf16(config) else "fp32",
        "gpu": torch.cuda.get_device_name() if gpu else "",
        "peak_gpu_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if gpu else 0.0,
        "base_commit": getattr(model.config, "_commit_hash", None) or "",
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
