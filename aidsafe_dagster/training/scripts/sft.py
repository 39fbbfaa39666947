"""Supervised fine-tuning of an adapter with TRL: `python sft.py CONFIG.json [PID TO END WITH]`.

The loss covers what the assistant says and never the user's prompt, which may be harmful. TRL finds the assistant's
tokens by markers in the chat template, and knows marked versions of many. For any other template the rows are given as
prompt and completion, and the loss covers the completion: the same tokens, found in another way.
"""

from typing import Any

from adapter import arguments, finish, load_model, load_tokenizer, lora, main
from datasets import Dataset
from rows import read_rows
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import (
    get_training_chat_template,
    has_generation_markers,
    is_chat_template_stop_token_trained,
)


def train(config: dict[str, Any]) -> None:
    tokenizer = load_tokenizer(config)
    rows = read_rows(config, tokenizer)
    marked = marks_the_assistant(tokenizer)
    given = rows if marked else rows.each(as_prompt_and_completion)
    loss = {"assistant_only_loss": True} if marked else {"completion_only_loss": True}
    trainer = SFTTrainer(
        model=load_model(config),
        args=SFTConfig(
            **arguments(config, evaluates=len(rows.validation) > 0), **loss, packing=False
        ),
        train_dataset=given.train,
        eval_dataset=given.validation if len(rows.validation) else None,
        processing_class=tokenizer,
        peft_config=lora(config),
    )
    labels = [label for row in trainer.train_dataset["labels"] for label in row]
    notes = {
        "loss_on": "assistant turns, by the template's markers" if marked else "completions",
        "tokens": len(labels),
        "tokens_in_loss": sum(label != -100 for label in labels),
    }
    finish(trainer, config, given, notes)


def marks_the_assistant(tokenizer: Any) -> bool:
    """The template, or the marked version of it that TRL knows, tells the assistant's tokens, the last one included."""
    try:
        known = (
            None
            if has_generation_markers(tokenizer.chat_template)
            else get_training_chat_template(tokenizer)
        )
    except ValueError:
        return False
    return bool(is_chat_template_stop_token_trained(tokenizer, chat_template=known))


def as_prompt_and_completion(rows: Dataset) -> Dataset:
    def parted(row: dict[str, Any]) -> dict[str, Any]:
        return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}

    return rows.map(parted, remove_columns="messages")


if __name__ == "__main__":
    main(train)
