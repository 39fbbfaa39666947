"""Reasons for verdicts, and the little that a refiner writes itself."""

from collections.abc import Mapping

JUDGEMENTS: Mapping[str, tuple[str, ...]] = {
    "keep": (
        "Carries the decision; what follows builds on it.",
        "Says something that no other thought says, and the response uses it.",
        "Sound, and needed to see why the response is as it is.",
    ),
    "keep.rules": (
        "Applies {rule_ids} to this very message, and rightly.",
        "Ties the decision to {rule_ids}; without it the step would be missing.",
    ),
    "repetitive": ("Says again what thought {earlier} said, in the same words.",),
    "redundant": ("True and of no consequence: the decision is the same without it.",),
    "deceptive": (
        "Sounds reasonable, and leads away from the decision by way of a purpose nobody stated.",
    ),
    "policy_inconsistent": (
        "Claims from {rule_ids} what the rule does not say; the conclusion goes against it.",
    ),
    "false.repetitive": ("Too close to thought {earlier}.",),
    "false.redundant": ("The decision would seem to stand without it.",),
}

REFINED: Mapping[str, tuple[str, ...]] = {
    "bridge": ("The answer keeps to what is said under {others} as well.",),
    "over_filtered": (
        "The message was read with care, the policies that apply settle what may be said, and the answer follows suit.",
    ),
    "agent_talk": (
        "As Agent {n} said in round {r}, ",
        "Agent {n} pointed out in round {r} that this holds: ",
    ),
}
