"""The README of an adapter: what it is, what it was trained on, and how to load it."""

import json
from collections.abc import Mapping

from aidsafe_dagster.training.lineage import Lineage

SIMULATED_LABEL = (
    "Trained on rows that the rehearsal engine simulated by rule, not on a model's output. "
    "Not for use."
)
_INTRODUCTION = (
    "A LoRA adapter, trained with TRL on policy-embedded chains of thought and responses (AIDSAFE, "
    "arXiv 2505.21784). `lineage.json` lists the batches, the settings and the library versions."
)
_USAGE = """```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("this folder")
```"""
_RESULTS = (
    "rows_train",
    "rows_validation",
    "rows_test",
    "rows_too_long",
    "steps",
    "train_loss",
    "eval_loss",
    "test_loss",
)


def adapter_card(lineage: Lineage) -> str:
    """Render the card as Markdown, with the metadata that the Hub and PEFT read at its head."""
    tags = ["lora", "trl", lineage.method]
    facts = {
        "base model": lineage.base_model,
        "revision": lineage.base_revision or "default",
    }
    if lineage.generation > 1:
        facts["generation"] = str(lineage.generation)
    if lineage.from_adapter:
        facts["trained on from an adapter with weights"] = lineage.from_adapter
    for name in _RESULTS:
        if name in lineage.result:
            facts[name] = lineage.result[name]
    sections = [
        f"# {lineage.method.upper()} adapter, dataset {lineage.dataset_version}"
    ]
    if lineage.simulated:
        tags.append("simulated")
        sections.append(f"> **{SIMULATED_LABEL}**")
    sections += [
        _INTRODUCTION,
        _table("", facts),
        _table("licence of the prompts", lineage.licences),
        _USAGE,
    ]
    metadata = {"base_model": lineage.base_model, "library_name": "peft", "tags": tags}
    body = "\n\n".join(sections)
    return f"{_front_matter(metadata)}\n{body}\n"


def _front_matter(metadata: Mapping[str, object]) -> str:
    lines = ["---"]
    for key, value in metadata.items():
        # JSON is YAML, with the quoting done right.
        lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    lines.append("---\n")
    return "\n".join(lines)


def _table(label: str, values: Mapping[str, object]) -> str:
    lines = [f"| {label} | |", "|---|---|"]
    for key, value in values.items():
        lines.append(f"| {_cell(key)} | {_cell(value)} |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    text = str(value)
    if isinstance(value, float):
        text = f"{value:.4g}"
    # Licences and the model's name come from outside, and must not break the table.
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
