"""The policy editor: a role that works on the policies themselves, and on no row.

It drafts rules from a document (`policy_import.py`), reviews rules (`policy_lint.py`), and drafts
and judges test cases (`policy_cases.py`). Its dialogues are like those of the stages, so they go
through the same engine, journal, limits and checks of answers. Its templates are in
`prompts/policy_work/`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.bad_answers import BadText
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.cut_text import breaks_off
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Message, Prompt, Role
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.recipe.unspaced import split_words

POLICY_WORK = "policy_work"
"""Folder of the templates, and the stage of the requests."""
_TASKS = ("draft_rules", "head", "review", "pair", "draft_case", "statements")
_TEMPLATES = tuple(f"{POLICY_WORK}/{name}" for name in ("system", *_TASKS))
# A rule may well be in the words of the document, and a passage has to be.
_CHECKS = ACCEPT_ALL.model_copy(
    update={"reject_loops": True, "reject_placeholders": True}
)


_LEAST_REASON_WORDS = 4
"""Beside ids of rules; signs, in scripts without spaces."""


@dataclass(frozen=True)
class EditorContext(DialogueContext):
    """What the dialogues of the policy editor share; its system message has their forms."""

    @cached_property
    def editor_system(self) -> Message:
        text = self.templates.task(
            POLICY_WORK, "system", policies=self.policies.policies
        )
        return Message(role="system", content=text)

    def system_for(self, role: Role) -> Message:  # noqa: ARG002 - the judge reads it too
        return self.editor_system


def editor_context(
    context: DialogueContext, templates: Templates, policies: Policies
) -> EditorContext:
    """Return a context as for the stages, with the templates and the policies of the editor."""
    values: dict[str, Any] = {
        one.name: getattr(context, one.name) for one in fields(DialogueContext)
    }
    changes = {
        "templates": templates,
        "policies": policies,
        "bad_text": _CHECKS,
        "language_of": None,
    }
    return EditorContext(**(values | changes))


def load_editor_templates(folder: Path) -> Templates:
    """Load the templates of the policy editor.

    Raises:
        SetupError: a template is missing or is not valid Jinja.
    """
    return Templates(folder, {POLICY_WORK: _TEMPLATES})


def require_reason(reason: str, rules: Iterable[str]) -> None:
    """Refuse a reason that names the rule and says nothing of it, or breaks off.

    A person reads it as the whole finding.

    Args:
        reason: of a verdict on rules.
        rules: ids of all rules.

    Raises:
        BadText: it is no reason.
    """
    without_rules = reason
    for rule in rules:
        without_rules = without_rules.replace(rule, " ")
    if len(split_words(without_rules)) < _LEAST_REASON_WORDS:
        raise BadText(f"'reason': '{reason}' does not say why")
    broken = breaks_off(reason)
    if broken is not None:
        raise BadText(f"'reason': {broken}")


def editor_conversation(
    context: DialogueContext, text: str, *about: object
) -> Conversation:
    """Return a conversation about a text that is no user's prompt.

    Args:
        context: of the policy editor.
        text: what it is about: a part of a document, a rule.
        about: what tells it from another conversation about the same text.
    """
    key = "\0".join(map(str, (text, *about)))
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8)
    prompt = Prompt(
        prompt_id=digest.hexdigest(),
        batch=POLICY_WORK,
        source=POLICY_WORK,
        source_row="",
        category="",
        licence="",
        prompt=text,
    )
    return Conversation(context, POLICY_WORK, prompt)
