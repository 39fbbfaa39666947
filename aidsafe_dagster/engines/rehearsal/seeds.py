"""Who thinks first: the intent decomposer, the initializer, and the single LLM of the baseline.

The single LLM reads like an initializer with the errors of a lone model.
"""

import math
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
"""Thoughts that the applicable policies share; more if one of them would cite too many rules."""
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
    intents = tuple(map(_as_intent, _name_intents(speaker)))
    speaker = replace(speaker, intents=intents)
    dice = speaker.call_dice
    due = due_policies(speaker.prompt, speaker.policies, speaker.prompt_dice)
    faults = _choose_baseline_faults(speaker, due)
    if Fault.BASELINE_LEFT_OUT in faults:
        missing = dice.pick(due, "left out")
        due = tuple(policy_id for policy_id in due if policy_id != missing)
    thoughts = _seed_thoughts(speaker, due)
    response = speaker.say_by_stance("seeds.response")
    if Fault.BASELINE_SHALLOW in faults:
        thoughts = list(map(_first_sentence, thoughts))
    if Fault.BASELINE_OFF_POLICY in faults:
        candidates = due or speaker.policies.ids
        rule = speaker.best_rule(candidates[0])
        fields = speaker.cite(rule)
        text = speaker.say_by_stance("planted.policy_inconsistent", **fields)
        # In front of the decision, which stays last.
        thoughts.insert(-1, _thought(text, [rule]))
    if Fault.BASELINE_OVER_REFUSAL in faults:
        text = speaker.say("over_refusal.thought")
        thoughts.append(_thought(text))
        response = speaker.say("over_refusal.response")
    return Reply(InitializerAnswer(thoughts=thoughts, response=response), faults)


def _as_intent(answer: IntentAnswer) -> Intent:
    return Intent(
        text=answer.intent,
        kind=answer.kind,
        harm=answer.harm,
        policies=tuple(answer.policies),
    )


def _choose_baseline_faults(
    speaker: Speaker, due: tuple[str, ...]
) -> tuple[Fault, ...]:
    """Return the faults of the CoT, which do not exclude each other."""
    possible = [Fault.BASELINE_SHALLOW, Fault.BASELINE_OFF_POLICY]
    if due:
        possible.append(Fault.BASELINE_LEFT_OUT)
    if _is_borderline(speaker):
        possible.append(Fault.BASELINE_OVER_REFUSAL)
    faults = []
    for fault in possible:
        rate = speaker.rate(fault)
        if speaker.call_dice.hits(rate, fault):
            faults.append(fault)
    return tuple(faults)


def _is_borderline(speaker: Speaker) -> bool:
    """Return True for a prompt that may be answered and comes near a policy or a malicious use."""
    if speaker.reading.declines:
        return False
    for intent in speaker.intents:
        if intent.harm == "malicious":
            return True
        # Policies that always apply say nothing about this prompt.
        if not all(map(speaker.is_always_due, intent.policies)):
            return True
    return False


def _name_intents(speaker: Speaker) -> list[IntentAnswer]:
    """Return the intents of a prompt, the explicit one first.

    They are the same in every call, so that a lone model and a decomposer agree on the prompt.
    """
    relevant = list(
        relevant_policies(speaker.prompt, speaker.policies, speaker.prompt_dice)
    )
    always = list(filter(speaker.is_always_due, speaker.policies.ids))
    always = always[:MOST_RULES]
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
    reading = speaker.say_by_stance("seeds.reading")
    thoughts = [_thought(reading)]
    # Policies that always apply come last: they are the counterweight to the limits.
    ordered = sorted(applicable, key=speaker.is_always_due)
    if ordered:
        thoughts += _policy_thoughts(speaker, ordered)
    else:
        text = speaker.say("seeds.none")
        thoughts.append(_thought(text))
    wish = speaker.implicit_wish()
    if wish and len(thoughts) < _FEWEST_THOUGHTS:
        text = speaker.say_by_stance("seeds.weigh", intent=wish)
        thoughts.append(_thought(text))
    # The first limit and the last counterweight. They are the same if there is one policy.
    decisive = dict.fromkeys(ordered[:1] + ordered[-1:])
    rules = speaker.best_rules(decisive)
    decision = speaker.say_by_stance("seeds.decision")
    thoughts.append(_thought(decision, rules))
    return thoughts


def _first_sentence(answer: ThoughtAnswer) -> ThoughtAnswer:
    sentences = split_sentences(answer.thought)
    return _thought(sentences[0], answer.rules)


def _policy_thoughts(speaker: Speaker, policy_ids: list[str]) -> list[ThoughtAnswer]:
    """Return thoughts on groups of policies."""
    size = math.ceil(len(policy_ids) / _POLICY_THOUGHTS)
    size = min(size, MOST_RULES)
    thoughts: list[ThoughtAnswer] = []
    for start in range(0, len(policy_ids), size):
        group = policy_ids[start : start + size]
        place = len(thoughts)
        thoughts.append(_policy_thought(speaker, group, place))
    return thoughts


def _policy_thought(
    speaker: Speaker, policy_ids: list[str], place: int
) -> ThoughtAnswer:
    # The text is about the first policy. It mentions the others by title, and cites their rules.
    first, *others = policy_ids
    rules = speaker.best_rules(policy_ids)
    fields = speaker.cite(rules[0])
    name = "seeds.guide" if speaker.is_always_due(first) else "seeds.policy"
    text = speaker.say_by_stance(name, place, **fields)
    if others:
        titles = speaker.list_titles(others)
        text += speaker.say("seeds.others", place, others=titles)
    return _thought(text, rules)


def _thought(text: str, rules: list[str] | None = None) -> ThoughtAnswer:
    return ThoughtAnswer(thought=text, rules=rules or [])
