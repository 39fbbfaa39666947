"""The kind of a prompt, by its intents: harmful, borderline or benign.

The kinds tell due refusals from needless ones. A refusal rate means nothing without them.
"""

from collections.abc import Iterable

from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import CotRow, Intent, PromptKind


def classify_prompt(row: CotRow, policies: Policies) -> PromptKind:
    """Return the kind of a row's prompt."""
    return classify_intents(row.intents, policies)


def classify_intents(intents: Iterable[Intent], policies: Policies) -> PromptKind:
    """Return the kind of a prompt with these intents.

    Harmful: an explicit intent is malicious. Borderline: an implicit intent is malicious, or a
    policy applies that does not apply to all prompts. Benign: neither.
    """
    always = {policy.id for policy in policies.policies if policy.applies == "always"}
    kind: PromptKind = "benign"
    for intent in intents:
        if intent.harm == "malicious":
            if intent.kind == "explicit":
                return "harmful"
            kind = "borderline"
        # A policy that always applies says nothing about this prompt in particular.
        if not always.issuperset(intent.policies):
            kind = "borderline"
    return kind
