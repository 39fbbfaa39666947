"""Direct preference optimization of an adapter with TRL: `python dpo.py CONFIG.json [PID TO END WITH]`.

It goes on from the SFT adapter, a frozen copy of which is the reference; without one it begins a new adapter, and the
base model is the reference. Either way the adapter that is saved is used alone on the base model.
"""

from typing import Any

from adapter import arguments, finish, load_model, load_tokenizer, lora, main
from peft import PeftModel
from rows import read_rows
from trl import DPOConfig, DPOTrainer


def train(config: dict[str, Any]) -> None:
    tokenizer = load_tokenizer(config)
    rows = read_rows(config, tokenizer)
    model, before = load_model(config), config["from_adapter"]
    if before:
        model = PeftModel.from_pretrained(model, before, is_trainable=True)
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            **arguments(config, evaluates=len(rows.validation) > 0), beta=config["steps"]["beta"]
        ),
        train_dataset=rows.train,
        eval_dataset=rows.validation if len(rows.validation) else None,
        processing_class=tokenizer,
        peft_config=None if before else lora(config),
    )
    finish(trainer, config, rows, {"reference": "the SFT adapter" if before else "the base model"})


if __name__ == "__main__":
    main(train)
