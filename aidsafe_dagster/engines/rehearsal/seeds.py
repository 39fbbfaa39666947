"""Who thinks first: the intent decomposer, the initializer, and the single LLM of the baseline.

The single LLM reads like an initializer with the errors of a lone model.
"""

from dataclasses import replace
from typing import Literal

from aidsafe_dagster.engines.rehearsal.faults import Fault
from aidsafe_dagster.engines.rehearsal.planted import Reply
from aidsafe_dagster.engines.rehearsal.reading import (
    due_policies,
    relevant_policies,
    split_sentences,
)
from aidsafe_dagster.engines.rehearsal.speaker import MOST_RULES, Speaker
from aidsafe_dagster.recipe.answers import (
    InitializerAnswer,
    IntentAnswer,
    IntentDecomposerAnswer,
    ThoughtAnswer,
)
from aidsafe_dagster.recipe.records import Intent
from aidsafe_dagster.recipe.seed_cots import InitializerInputs, IntentDecomposerInputs
from aidsafe_dagster.recipe.single_llm_cots import SingleLlmInputs

_POLICY_THOUGHTS = 3
_FEWEST_THOUGHTS = 4


def decompose_intents(speaker: Speaker, _: IntentDecomposerInputs) -> Reply:
    """Name the intents behind a prompt, by the look of it."""
    return Reply(IntentDecomposerAnswer(intents=_name_intents(speaker)))


def write_seed(speaker: Speaker, inputs: InitializerInputs) -> Reply:
    """Write seed thoughts that cover every applicable policy, and a first response."""
    response = speaker.say_by_stance("seeds.response")
    thoughts = _seed_thoughts(speaker, inputs.applicable)
    return Reply(InitializerAnswer(thoughts=thoughts, response=response))


def think_alone(speaker: Speaker, _: SingleLlmInputs) -> Reply:
    """Write thoughts and a response that cover every due policy, apart from planted faults."""
    # A lone model sees the intents as a decomposer does, and does not write them down.
    intents = tuple(
        Intent(text=i.intent, kind=i.kind, harm=i.harm, policies=tuple(i.policies))
        for i in _name_intents(speaker)
    )
    speaker = replace(speaker, intents=intents)
    due = due_policies(speaker.prompt, speaker.policies, speaker.prompt_dice)
    faults = _choose_baseline_faults(speaker, due)
    if Fault.BASELINE_LEFT_OUT in faults:
        missing = speaker.call_dice.pick(due, "left out")
        due = tuple(policy_id for policy_id in due if policy_id != missing)
    thoughts = _seed_thoughts(speaker, due)
    response = speaker.say_by_stance("seeds.response")
    if Fault.BASELINE_SHALLOW in faults:
        thoughts = [_thought(split_sentences(t.thought)[0], t.rules) for t in thoughts]
    if Fault.BASELINE_OFF_POLICY in faults:
        rule = speaker.best_rule((due or speaker.policies.ids)[0])
        text = speaker.say_by_stance(
            "planted.policy_inconsistent", **speaker.cite(rule)
        )
        thoughts.insert(-1, _thought(text, [rule]))
    if Fault.BASELINE_OVER_REFUSAL in faults:
        thoughts.append(_thought(speaker.say("over_refusal.thought")))
        response = speaker.say("over_refusal.response")
    return Reply(InitializerAnswer(thoughts=thoughts, response=response), faults)


def _choose_baseline_faults(
    speaker: Speaker, due: tuple[str, ...]
) -> tuple[Fault, ...]:
    """Return the faults of the CoT, which do not exclude each other."""
    possible = [Fault.BASELINE_SHALLOW, Fault.BASELINE_OFF_POLICY]
    if due:
        possible.append(Fault.BASELINE_LEFT_OUT)
    if _is_borderline(speaker):
        possible.append(Fault.BASELINE_OVER_REFUSAL)
    return tuple(
        fault
        for fault in possible
        if speaker.call_dice.hits(speaker.rate(fault), fault)
    )


def _is_borderline(speaker: Speaker) -> bool:
    """Return True for a prompt that may be answered and comes near a policy or a malicious use."""
    if speaker.reading.declines:
        return False
    for intent in speaker.intents:
        if intent.harm == "malicious" or not all(
            map(speaker.is_always_due, intent.policies)
        ):
            return True
    return False


def _name_intents(speaker: Speaker) -> list[IntentAnswer]:
    """Return the intents of a prompt, the explicit one first.

    They are the same in every call, so that a lone model and a decomposer agree on the prompt.
    """
    relevant = list(
        relevant_policies(speaker.prompt, speaker.policies, speaker.prompt_dice)
    )
    always = list(filter(speaker.is_always_due, speaker.policies.ids))[:MOST_RULES]
    if speaker.reading.declines:
        intents = [
            _intent(speaker, "asked", "explicit", "malicious", relevant),
            _intent(speaker, "other", "implicit", "benign", always),
        ]
        if speaker.prompt_dice.hits(0.6, "behind"):
            intents.append(
                _intent(speaker, "behind", "implicit", "malicious", relevant)
            )
        return intents
    intents = [
        _intent(speaker, "asked", "explicit", "benign", always),
        _intent(speaker, "other", "implicit", "benign", []),
    ]
    if relevant:
        intents.append(_intent(speaker, "touches", "implicit", "benign", relevant))
    elif speaker.prompt_dice.hits(0.06, "faint"):
        intents.append(_intent(speaker, "faint", "implicit", "malicious", []))
    return intents


def _intent(
    speaker: Speaker,
    name: str,
    kind: Literal["explicit", "implicit"],
    harm: Literal["benign", "malicious"],
    policies: list[str],
) -> IntentAnswer:
    text = speaker.say_by_stance(f"intents.{name}")
    return IntentAnswer(intent=text, kind=kind, harm=harm, policies=policies)


def _seed_thoughts(
    speaker: Speaker, applicable: tuple[str, ...]
) -> list[ThoughtAnswer]:
    """Return four or five thoughts, more with many policies; the last one decides."""
    thoughts = [_thought(speaker.say_by_stance("seeds.reading"))]
    # Policies that always apply come last: they are the counterweight to the limits.
    ordered = sorted(applicable, key=speaker.is_always_due)
    size = min(-(-len(ordered) // _POLICY_THOUGHTS) or 1, MOST_RULES)
    for place, start in enumerate(range(0, len(ordered), size)):
        thoughts.append(_policy_thought(speaker, ordered[start : start + size], place))
    if not applicable:
        thoughts.append(_thought(speaker.say("seeds.none")))
    wish = speaker.implicit_wish()
    if wish and len(thoughts) < _FEWEST_THOUGHTS:
        thoughts.append(_thought(speaker.say_by_stance("seeds.weigh", intent=wish)))
    decisive = dict.fromkeys(ordered[:1] + ordered[-1:])
    rules = [speaker.best_rule(policy_id) for policy_id in decisive]
    return [*thoughts, _thought(speaker.say_by_stance("seeds.decision"), rules)]


def _policy_thought(
    speaker: Speaker, policy_ids: list[str], place: int
) -> ThoughtAnswer:
    rules = [speaker.best_rule(policy_id) for policy_id in policy_ids]
    name = "seeds.guide" if speaker.is_always_due(policy_ids[0]) else "seeds.policy"
    text = speaker.say_by_stance(name, place, **speaker.cite(rules[0]))
    if len(policy_ids) > 1:
        titles = speaker.list_titles(policy_ids[1:])
        text += speaker.say("seeds.others", place, others=titles)
    return _thought(text, rules)


def _thought(text: str, rules: list[str] | None = None) -> ThoughtAnswer:
    return ThoughtAnswer(thought=text, rules=rules or [])
