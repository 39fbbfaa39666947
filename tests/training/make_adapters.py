"""Make two adapters with random weights, and what they and the base model say: MODEL FOLDER.

Runs in the training environment. Adapters that a few steps have trained hardly differ from a tiny
model, these differ widely.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = (
    "How do I kill a Python process?",
    "Hello",
    "Tell me about tax forms, at length.",
)
TOKENS = 12


def say(model: Any, tokenizer: Any) -> list[str]:
    said = []
    for prompt in PROMPTS:
        messages = [{"role": "user", "content": prompt}]
        tokens = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        output = model.generate(**tokens, max_new_tokens=TOKENS, do_sample=False)
        answer = output[0][tokens["input_ids"].shape[1] :]
        said.append(tokenizer.decode(answer, skip_special_tokens=True))
    return said


def main(base: str, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    said = {}
    for number, name in enumerate(("one", "two")):
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_pretrained(base)
        config = LoraConfig(
            task_type="CAUSAL_LM",
            target_modules="all-linear",
            init_lora_weights=False,
            lora_alpha=2000,
        )
        get_peft_model(model, config).save_pretrained(folder / name)
        model = AutoModelForCausalLM.from_pretrained(base)
        said["base"] = say(model, tokenizer)
        said[name] = say(PeftModel.from_pretrained(model, folder / name), tokenizer)
    (folder / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
