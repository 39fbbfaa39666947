"""Supervised fine-tuning of an adapter with TRL: `python sft.py CONFIG.json [PARENT PID]`.

The loss covers the assistant's text and never the user's prompt, which may be harmful. TRL finds
the assistant's tokens by markers in the chat template, and has marked versions of many templates.
For any other template the rows become prompt and completion, and the loss covers the completion:
the same tokens, found in another way. So it is where a prompt is a conversation: what an assistant
said earlier in it is context, and may well be what nobody should learn.
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
from datasets import Dataset
from rows import Rows, read_rows
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import (
    get_training_chat_template,
    has_generation_markers,
    is_chat_template_stop_token_trained,
)

# Label of a token that is not in the loss.
IGNORED = -100


def train(config: dict[str, Any]) -> None:
    tokenizer = load_tokenizer(config)
    rows = read_rows(config, tokenizer)
    if marks_assistant(tokenizer) and not has_earlier_answers(rows):
        loss = {"assistant_only_loss": True}
        loss_on = "assistant turns, by the template's markers"
    else:
        loss = {"completion_only_loss": True}
        loss_on = "completions"
        rows = rows.map(to_prompt_and_completion)
    arguments = trainer_arguments(config, evaluates=len(rows.validation) > 0)
    trainer = SFTTrainer(
        model=load_model(config),
        # Packing may cut a row to fill a sequence, and no row is ever cut.
        args=SFTConfig(**arguments, **loss, packing=False),
        train_dataset=rows.train,
        eval_dataset=rows.validation if len(rows.validation) else None,
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )
    # Counted on what the trainer made of the rows, so that it cannot be wrong about the loss.
    tokens = tokens_in_loss = 0
    for labels in trainer.train_dataset["labels"]:
        tokens += len(labels)
        tokens_in_loss += sum(label != IGNORED for label in labels)
    notes = {"loss_on": loss_on, "tokens": tokens, "tokens_in_loss": tokens_in_loss}
    finish(trainer, config, rows, notes)


def marks_assistant(tokenizer: Any) -> bool:
    """Tell whether the template, or TRL's marked version of it, marks the assistant's tokens.

    The end-of-turn token must be among them, or the model does not learn to stop.
    """
    template = None
    try:
        if not has_generation_markers(tokenizer.chat_template):
            template = get_training_chat_template(tokenizer)
    # TRL has no marked version of this template.
    except ValueError:
        return False
    return bool(is_chat_template_stop_token_trained(tokenizer, chat_template=template))


def has_earlier_answers(rows: Rows) -> bool:
    """Tell whether an assistant speaks in the prompt of any row."""
    for split in (rows.train, rows.validation, rows.test):
        for messages in split["messages"] if len(split) else ():
            if any(turn["role"] == "assistant" for turn in messages[:-1]):
                return True
    return False


def to_prompt_and_completion(rows: Dataset) -> Dataset:
    def split(row: dict[str, Any]) -> dict[str, Any]:
        *prompt, answer = row["messages"]
        return {"prompt": prompt, "completion": [answer]}

    return rows.map(split, remove_columns="messages")


if __name__ == "__main__":
    main(train)
