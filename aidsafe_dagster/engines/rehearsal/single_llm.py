"""The single LLM: the baseline, who thinks alone and once. It reads like a seed CoT, and errs as a lone model does."""

from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.faults import BaselineFault
from aidsafe_dagster.engines.rehearsal.lines import Speaker
from aidsafe_dagster.engines.rehearsal.phrases.deliberators import PLANTED
from aidsafe_dagster.engines.rehearsal.phrases.whisper import BAD_THOUGHTS, MISLED
from aidsafe_dagster.engines.rehearsal.reading import declines, due_policies
from aidsafe_dagster.engines.rehearsal.seeds import initialized, intents_seen
from aidsafe_dagster.engines.rehearsal.shortening import sentences
from aidsafe_dagster.recipe.answers import InitializerAnswer, ThoughtAnswer
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Prompt


def thought_alone(speaker: Speaker) -> InitializerAnswer:
    """Thoughts and response of one call; the policies that bear on the prompt are covered unless a fault says no."""
    faults = baseline_faults(speaker.plan, speaker.prompt, speaker.policies)
    due = due_policies(speaker.prompt, speaker.policies, speaker.plan.settings.seed)
    if BaselineFault.LEFT_OUT in faults:
        lacks = speaker.plan.baseline_lacks(speaker.prompt.prompt_id, due)
        due = tuple(policy_id for policy_id in due if policy_id != lacks)
    answer = initialized(speaker, due)
    thoughts, response = answer.thoughts, answer.response
    if BaselineFault.SHALLOW in faults:
        thoughts = [
            ThoughtAnswer(thought=sentences(said.thought)[0], rules=said.rules) for said in thoughts
        ]
    if BaselineFault.OFF_POLICY in faults:
        thoughts = [*thoughts[:-1], _off_policy(speaker, due), thoughts[-1]]
    if BaselineFault.OVER_REFUSAL in faults:
        refusal = "needless_refusal.help"
        thoughts = [
            *thoughts,
            ThoughtAnswer(thought=speaker.fill(BAD_THOUGHTS[refusal][1]), rules=[]),
        ]
        response = speaker.fill(MISLED[refusal][1])
    return InitializerAnswer(thoughts=thoughts, response=response)


def baseline_faults(
    plan: FaultPlan, prompt: Prompt, policies: Policies
) -> frozenset[BaselineFault]:
    """What is planted in the single-LLM CoT on a prompt."""
    intents = intents_seen(plan, prompt, policies)
    always = {policy.id for policy in policies.policies if policy.applies == "always"}
    touched = any(i.harm == "malicious" or not always.issuperset(i.policies) for i in intents)
    return plan.baseline_faults(
        prompt.prompt_id,
        borderline=touched and not declines(intents),
        covers=bool(due_policies(prompt, policies, plan.settings.seed)),
    )


def _off_policy(speaker: Speaker, due: tuple[str, ...]) -> ThoughtAnswer:
    rule = speaker.rule_of((due or speaker.policies.ids)[0])
    return ThoughtAnswer(
        thought=speaker.take(PLANTED, "policy_inconsistent", 0, **speaker.cites(rule)), rules=[rule]
    )
