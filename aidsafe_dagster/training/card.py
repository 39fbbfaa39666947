"""The README of an adapter: what it is, what it was trained on, how to load it."""

import json

from aidsafe_dagster.training.lineage import Lineage

SIMULATED = "Trained on rows that the rehearsal engine simulated by rule, not on a model's output. Not for use."
_SHOWN = (
    "rows_train",
    "rows_validation",
    "rows_test",
    "rows_too_long",
    "steps",
    "train_loss",
    "eval_loss",
    "test_loss",
)


def card(lineage: Lineage) -> str:
    """Markdown with the metadata that the Hub and PEFT read at its head."""
    head = {
        "base_model": lineage.base_model,
        "library_name": "peft",
        "tags": ["lora", "trl", lineage.method, *(["simulated"] if lineage.simulated else [])],
    }
    made = {name: lineage.result[name] for name in _SHOWN if name in lineage.result}
    told = [
        f"# {lineage.method.upper()} adapter, dataset {lineage.dataset_version}",
        f"> **{SIMULATED}**" if lineage.simulated else "",
        "A LoRA adapter, trained with TRL on policy-embedded chains of thought and responses (AIDSAFE, arXiv "
        "2505.21784). `lineage.json` has the batches, the settings and the versions of the libraries.",
        _table(
            "",
            {"base model": lineage.base_model, "revision": lineage.base_revision or "default"}
            | made,
        ),
        _table("licence of the prompts", lineage.licences),
        "```python\nfrom peft import AutoPeftModelForCausalLM\n\n"
        'model = AutoPeftModelForCausalLM.from_pretrained("this folder")\n```',
    ]
    front = "\n".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()
    )
    return f"---\n{front}\n---\n\n" + "\n\n".join(part for part in told if part) + "\n"


def _table(label: str, values: object) -> str:
    assert hasattr(values, "items")
    lines = [f"| {_cell(key)} | {_cell(value)} |" for key, value in values.items()]
    return "\n".join([f"| {label} | |", "|---|---|", *lines])


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
