"""What a check of policies found, with the file, the line and the rule."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from aidsafe_dagster.recipe.policies import Policy
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.recipe.toml_text import line_of_key

Check = Literal[
    "file",
    "duplicate",
    "contradiction",
    "vague",
    "untestable",
    "category",
    "long",
    "context",
    "reference",
    "number",
    "not reviewed",
]
By = Literal["rule", "model", "rule and model"]


class Finding(Record):
    """One thing to mend, or a note."""

    check: Check
    file: Path
    line: int = Field(
        description="of the file, from 1; 0 if it is about the whole file"
    )
    rule: str = Field(
        description="id of the rule; of the policy, or empty, without one"
    )
    message: str
    other: str = Field(default="", description="the other rule of a pair")
    other_file: Path | None = None
    by: By = "rule"
    is_note: bool = Field(
        default=False, description="to know, and nothing that has to be mended"
    )


class PolicyFile(Record):
    """One file that holds a policy, or is to hold one."""

    path: Path
    text: str
    policy: Policy | None
    problem: str = Field(default="", description="why it holds none")

    def line_of(self, *key: str) -> int:
        """Return the line on which a key stands; 0 if it was not found."""
        return line_of_key(self.text, key)

    def line_of_rule(self, rule: str) -> int:
        return self.line_of("rules", rule.partition(".")[2])
