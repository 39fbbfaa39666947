"""The choices that options of commands offer.

They are written out here because importing the recipe takes longer than `aidsafe --help` may. A
test holds them against the recipe's own (`tests/cli/test_start_up.py`).
"""

from typing import Literal

Split = Literal["train", "validation", "test"]
Reasoning = Literal["inline", "field"]
Arm = Literal["all", "selected", "random"]
"""Rows of the train split that an adapter learns from."""
FORMAT_NAMES = (
    "trl-sft",
    "trl-dpo",
    "prompt-completion",
    "deliberations",
    "llama-factory-sft",
    "llama-factory-dpo",
    "ms-swift-sft",
    "ms-swift-dpo",
    "trl-prm",
    "trl-kto",
    "trl-reward",
    "guard",
    "guard-policy",
    "guard-llama",
    "trl-grpo",
    "counterfactual-sft",
    "counterfactual-dpo",
)
INSPECT = "inspect"
"""No format of a trainer: logs of the deliberations, for `inspect view`."""
