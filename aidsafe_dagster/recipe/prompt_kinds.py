"""What kind of prompt it is, by its intents: harmful, borderline or benign.

The kinds part refusals that are due from needless ones: a refusal rate means nothing without them.
"""

from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import CotRow, PromptKind


def classify_prompt(row: CotRow, policies: Policies) -> PromptKind:
    """Harmful: what is asked for outright is malicious. Borderline: it is not, but a malicious intent may stand behind
    it, or a policy bears on it that does not bear on everything. Benign: neither."""
    if any(intent.harm == "malicious" and intent.kind == "explicit" for intent in row.intents):
        return "harmful"
    always = {policy.id for policy in policies.policies if policy.applies == "always"}
    named = {policy for intent in row.intents for policy in intent.policies}
    if any(intent.harm == "malicious" for intent in row.intents) or named - always:
        return "borderline"
    return "benign"
