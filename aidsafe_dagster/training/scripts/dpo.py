"""Direct preference optimization of an adapter with TRL: `python dpo.py CONFIG.json [PARENT PID]`.

Training continues the SFT adapter, with a frozen copy of it as the reference. Without one it starts
a new adapter, and the base model is the reference. Either way the saved adapter is used alone on
the base model.
"""

from typing import Any

from adapter import (
    finish,
    load_model,
    load_tokenizer,
    lora_config,
    main,
    trainer_arguments,
)
from peft import PeftModel
from rows import read_rows
from trl import DPOConfig, DPOTrainer


def train(config: dict[str, Any]) -> None:
    tokenizer = load_tokenizer(config)
    rows = read_rows(config, tokenizer)
    model, sft_adapter = load_model(config), config["from_adapter"]
    if sft_adapter:
        model = PeftModel.from_pretrained(model, sft_adapter, is_trainable=True)
    arguments = trainer_arguments(config, evaluates=len(rows.validation) > 0)
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(**arguments, beta=config["steps"]["beta"]),
        train_dataset=rows.train,
        eval_dataset=rows.validation if len(rows.validation) else None,
        processing_class=tokenizer,
        # The SFT adapter is trained further, so no new one is added.
        peft_config=None if sft_adapter else lora_config(config),
    )
    reference = "the SFT adapter" if sft_adapter else "the base model"
    finish(trainer, config, rows, {"reference": reference})


if __name__ == "__main__":
    main(train)
