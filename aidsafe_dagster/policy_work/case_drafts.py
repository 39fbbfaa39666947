"""Drafting test cases: a few per rule, added to the end of the files of cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.policy_work.asking import PolicyEditor
from aidsafe_dagster.policy_work.drafting import toml_string
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_cases import (
    CaseFile,
    DraftedCase,
    case_table,
    count_by_rule,
    draft_cases,
    draft_conversation,
)
from aidsafe_dagster.recipe.records import Failure, Role, Usage

_HEAD = (
    "# Test cases of the policy {policy}: `aidsafe policy test`. Those with `drafted = true` were\n"
    "# written by a model; take the line out once you have read the case and it is right.\n"
)


@dataclass(frozen=True)
class Drafts:
    """What came of drafting."""

    by_file: dict[Path, list[DraftedCase]]
    failed: tuple[tuple[str, Failure], ...]
    """Rules of which no draft was valid."""
    model: str
    simulated: bool
    usage: Usage
    replayed: int

    @property
    def count(self) -> int:
        return sum(map(len, self.by_file.values()))


def draft_missing(
    policies: Policies,
    files: Sequence[CaseFile],
    folder: Path,
    count: int,
    editor: PolicyEditor,
) -> Drafts:
    """Draft cases for every rule that has fewer than `count`, and add them to the files.

    Raises:
        SetupError: no call can succeed, or a file cannot be written.
    """
    by_rule = count_by_rule(files)
    due: dict[str, tuple[list[str], int]] = {}
    for rule in policies.rule_ids:
        prompts = [case.prompt for case in by_rule.get(rule, ())]
        if len(prompts) < count:
            due[rule] = (prompts, count - len(prompts))

    def make(context: DialogueContext) -> list[DialogueTask[tuple[DraftedCase, ...]]]:
        tasks = []
        for rule, (taken, missing) in due.items():
            conversation = draft_conversation(context, rule, missing + len(taken))
            dialogue = draft_cases(conversation, rule, taken, missing)
            tasks.append(DialogueTask(conversation, dialogue))
        return tasks

    asked = editor.ask(make, Role.POLICY_EDITOR)
    failed = []
    by_file: dict[Path, list[DraftedCase]] = {}
    for rule, result in zip(due, asked.results, strict=True):
        if isinstance(result, Failure):
            failed.append((rule, result))
            continue
        path = folder / f"{rule.partition('.')[0]}.toml"
        by_file.setdefault(path, []).extend(result)
    names = {case.name for file in files for case in file.cases}
    for path, drafts in by_file.items():
        _append(path, drafts, names)
    return Drafts(
        by_file,
        tuple(failed),
        asked.model,
        asked.simulated,
        asked.usage,
        asked.replayed,
    )


def _append(path: Path, drafts: Sequence[DraftedCase], names: set[str]) -> None:
    """Add cases at the end of a file; what a person wrote there stays byte for byte."""
    try:
        earlier = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    text = "" if earlier else _HEAD.format(policy=path.stem)
    if earlier and not earlier.endswith(b"\n"):
        text = "\n"
    for draft in drafts:
        table = case_table(draft, _new_name(draft.rule, names))
        text += "\n[[case]]\n" + "".join(_line(key, table[key]) for key in table)
    with atomic_write(path) as temporary:
        temporary.write_bytes(earlier + text.encode())


def _new_name(rule: str, names: set[str]) -> str:
    number = 1
    while f"{rule}-{number}" in names:
        number += 1
    name = f"{rule}-{number}"
    names.add(name)
    return name


def _line(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{key} = {str(value).lower()}\n"
    if isinstance(value, list):
        items = ", ".join(map(toml_string, value))
        return f"{key} = [{items}]\n"
    return f"{key} = {toml_string(value)}\n"
