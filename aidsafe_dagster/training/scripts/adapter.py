"""Shared by SFT and DPO: base model, tokenizer, LoRA, trainer arguments, and the results.

These scripts run in the training environment. They import torch, the Hugging Face libraries and the
standard library, and nothing of aidsafe_dagster. Each reads a JSON file that
`aidsafe_dagster/training/run.py` writes.
"""

import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from curves import Curves
from lifeline import die_with_parent
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PrinterCallback,
)
from transformers.utils.logging import disable_progress_bar

EVALUATION_METRICS = (
    "eval_loss",
    "eval_mean_token_accuracy",
    "eval_rewards/accuracies",
    "eval_rewards/margins",
)
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


class CannotTrain(Exception):
    """A mistake in the model, the settings or the data. The message is for the user."""


def main(train: Callable[[dict[str, Any]], None]) -> None:
    """Train with the JSON file of the first argument; the second one is the pid of the parent."""
    # Without the pid, the script can be started by hand.
    if len(sys.argv) > 2:
        die_with_parent(int(sys.argv[2]))
    disable_progress_bar()
    config = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        train(config)
    except CannotTrain as error:
        sys.exit(f"cannot train: {error}")


def load_tokenizer(config: dict[str, Any]) -> Any:
    print(f"loading {config['model']}")
    tokenizer = AutoTokenizer.from_pretrained(
        config["model"], revision=config["revision"] or None
    )
    if not tokenizer.chat_template:
        raise CannotTrain(
            f"{config['model']} has no chat template: use a chat model, or add one to its folder"
        )
    return tokenizer


def load_model(config: dict[str, Any]) -> Any:
    """Load the base model; `4bit` is NormalFloat with double quantization (QLoRA, section 3)."""
    dtype = torch.bfloat16 if uses_bf16(config) else torch.float32
    quantization = None
    if config["quantize"] == "4bit":
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
        quantization_config=quantization,
    )


def lora_config(config: dict[str, Any]) -> LoraConfig:
    settings = config["lora"]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings["r"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=settings["target_modules"] or "all-linear",
    )


def trainer_arguments(config: dict[str, Any], *, evaluates: bool) -> dict[str, Any]:
    """Return the keyword arguments that SFTConfig and DPOConfig have in common."""
    steps = config["steps"]
    return {
        "output_dir": str(Path(config["work"]) / "checkpoints"),
        "learning_rate": steps["learning_rate"],
        "num_train_epochs": steps["epochs"],
        "max_steps": steps["max_steps"] or -1,
        "per_device_train_batch_size": steps["batch_size"],
        "per_device_eval_batch_size": steps["batch_size"],
        "gradient_accumulation_steps": steps["gradient_accumulation"],
        # Below 1 it is a share of the steps.
        "warmup_steps": steps["warmup"],
        "lr_scheduler_type": steps["scheduler"],
        "max_length": config["max_length"],
        "gradient_checkpointing": config["gradient_checkpointing"],
        "seed": config["seed"],
        "bf16": uses_bf16(config),
        # Without a GPU, the trainer takes bf16 only from those who say that they mean the CPU.
        "use_cpu": not torch.accelerator.is_available(),
        "logging_steps": config["log_every"],
        "logging_first_step": True,
        "save_steps": config["save_every"],
        "save_total_limit": 1,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": config["eval_every"],
        # The curve starts at step 0. A run that resumes has that point already.
        "eval_on_start": evaluates and last_checkpoint(config) is None,
        "report_to": "none",
        "disable_tqdm": True,
    }


def uses_bf16(config: dict[str, Any]) -> bool:
    if config["precision"] == "auto":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    return bool(config["precision"] == "bf16")


def last_checkpoint(config: dict[str, Any]) -> str | None:
    """Return the latest complete checkpoint, or None."""
    # The trainer writes this file last.
    states = Path(config["work"]).glob("checkpoints/checkpoint-*/trainer_state.json")
    by_step = {}
    for state in states:
        folder = state.parent
        step = int(folder.name.split("-")[1])
        by_step[step] = folder
    if not by_step:
        return None
    return str(by_step[max(by_step)])


def finish(
    trainer: Any, config: dict[str, Any], rows: Any, notes: dict[str, Any]
) -> None:
    """Train from the last checkpoint, if there is one; write the adapter, then `result.json`.

    Args:
        rows: the splits (`rows.Rows`).
        notes: further results of the method.
    """
    work = Path(config["work"])
    # This one prints raw dictionaries. `Curves` prints the same figures as sentences.
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Curves(work / "metrics.jsonl"))
    checkpoint = last_checkpoint(config)
    if checkpoint:
        print(f"resuming from {Path(checkpoint).name}")
    else:
        print("training")
    trainer.train(resume_from_checkpoint=checkpoint)
    metrics = _final_metrics(trainer, rows)
    adapter = str(work / "adapter")
    # DPO has a second adapter in the model, the frozen reference, which nobody needs later.
    trainer.model.save_pretrained(adapter, selected_adapters=["default"])
    trainer.processing_class.save_pretrained(adapter)
    environment = _environment(trainer.model, config)
    result = metrics | notes | rows.counts() | environment
    # Last of all: a result means that the adapter is complete.
    (work / "result.json").write_text(json.dumps(result))


def _final_metrics(trainer: Any, rows: Any) -> dict[str, float]:
    """Return steps and losses, and TRL's reward metrics for DPO.

    A slash in a name becomes an underscore: `eval_rewards/margins` → `eval_rewards_margins`.
    """
    state = trainer.state
    # The loss of the last log step: `train_loss` of the trainer is a mean from the start.
    losses = [logs["loss"] for logs in state.log_history if "loss" in logs]
    metrics = {
        "steps": state.global_step,
        "epochs": state.epoch,
        "train_loss": losses[-1],
    }
    if len(rows.validation):
        evaluation = _last_evaluation(state) or trainer.evaluate()
        for key in EVALUATION_METRICS:
            if key in evaluation:
                metrics[key.replace("/", "_")] = evaluation[key]
    if len(rows.test):
        test = trainer.evaluate(rows.test, metric_key_prefix="test")
        metrics["test_loss"] = test["test_loss"]
    return metrics


def _last_evaluation(state: Any) -> dict[str, float] | None:
    """Return the evaluation at the final step, if the trainer made one."""
    for logs in reversed(state.log_history):
        if "eval_loss" in logs and logs["step"] == state.global_step:
            return dict(logs)
    return None


def _environment(model: Any, config: dict[str, Any]) -> dict[str, Any]:
    gpu, peak_bytes = "", 0
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
        peak_bytes = torch.cuda.max_memory_allocated()
    trainable_parameters = 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            trainable_parameters += parameter.numel()
    return {
        "trainable_parameters": trainable_parameters,
        "precision": "bf16" if uses_bf16(config) else "fp32",
        "gpu": gpu,
        "peak_gpu_gib": round(peak_bytes / 2**30, 2),
        "base_commit": getattr(model.config, "_commit_hash", None) or "",
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
