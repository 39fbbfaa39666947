"""The guard: how likely it is that an answer goes against one policy."""

import json

from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.flaws import misled_strength, quality_of
from aidsafe_dagster.engines.rehearsal.lots import lot
from aidsafe_dagster.recipe.beliefs import GuardInputs

UNSURE = "That depends."
"""Neither Yes nor No."""
_VIOLATED = (0.05, 0.45, 0.8, 0.95)
"""What the guard says, about, of an answer misled to strength 0, 1, 2, 3."""
_BENT = 0.3
"""What it says of a row in which a rule is bent or missing."""


def weighed(plan: FaultPlan, inputs: GuardInputs) -> str:
    """JSON of the probabilities of Yes (the policy is violated) and No."""
    subject, prompt = inputs.subject, inputs.prompt
    violated = _VIOLATED[0 if subject.row else misled_strength(subject)]
    if (
        subject.row
        and quality_of(plan, prompt, inputs.policies, subject).score("policy_to_cot") <= 3
    ):
        violated = _BENT
    off = lot(plan.settings.seed, "guard", prompt.prompt_id, inputs.policy, *subject.thoughts)
    yes = round(min(max(violated + 0.08 * (off - 0.5), 0.01), 0.99), 4)
    return json.dumps({"Yes": yes, "No": round(1 - yes, 4)})
