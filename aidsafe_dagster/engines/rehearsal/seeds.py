"""The intent decomposer and the initializer: what is asked, what may stand behind it, and a first chain of thought."""

from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.lines import MOST_RULES, Speaker, a_speaker
from aidsafe_dagster.engines.rehearsal.lots import lot
from aidsafe_dagster.engines.rehearsal.phrases.seeds import INTENTS, SEEDS
from aidsafe_dagster.engines.rehearsal.reading import bearing, looks_malicious, quotable
from aidsafe_dagster.recipe.answers import (
    InitializerAnswer,
    IntentAnswer,
    IntentDecomposerAnswer,
    ThoughtAnswer,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Intent, Prompt, Role

_POLICY_THOUGHTS = 3


def decomposed(speaker: Speaker, *, malicious: bool) -> IntentDecomposerAnswer:
    """Intents by the look of the prompt; most of a benign prompt's intents are benign."""
    found = list(bearing(speaker.prompt, speaker.policies, speaker.plan.settings.seed))
    always = [policy.id for policy in speaker.policies.policies if policy.applies == "always"][
        :MOST_RULES
    ]
    intents = (
        _of_malicious(speaker, found, always) if malicious else _of_benign(speaker, found, always)
    )
    return IntentDecomposerAnswer(intents=intents)


def initialized(speaker: Speaker, applicable: tuple[str, ...]) -> InitializerAnswer:
    """4 or 5 seed thoughts that cover every applicable policy, and a first response."""
    thoughts = [_thought(speaker.take(SEEDS, "reading"))]
    thoughts += _on_policies(speaker, applicable)
    if len(thoughts) < 4 and (wish := _wish(speaker)):
        thoughts.append(_thought(speaker.take(SEEDS, "weigh", intent=wish)))
    thoughts.append(_thought(speaker.take(SEEDS, "decision"), *_decisive(speaker, applicable)))
    return InitializerAnswer(thoughts=thoughts[:12], response=speaker.take(SEEDS, "response"))


def intents_seen(plan: FaultPlan, prompt: Prompt, policies: Policies) -> tuple[Intent, ...]:
    """The intents that an intent decomposer names: who thinks alone sees them as well, and does not write them down."""
    reader = a_speaker(plan, prompt, policies, intents=(), place=Role.INTENT_DECOMPOSER, draw=0)
    answer = decomposed(reader, malicious=looks_malicious(prompt, policies))
    return tuple(
        Intent(text=i.intent, kind=i.kind, harm=i.harm, policies=tuple(i.policies))
        for i in answer.intents
    )


def _of_malicious(speaker: Speaker, found: list[str], always: list[str]) -> list[IntentAnswer]:
    intents = [_intent(speaker.say(INTENTS, "asked.decline"), "explicit", "malicious", found)]
    if lot(speaker.key, "behind") < 0.6:
        intents.append(
            _intent(speaker.say(INTENTS, "behind.decline"), "implicit", "malicious", found)
        )
    return [*intents, _intent(speaker.say(INTENTS, "other.decline"), "implicit", "benign", always)]


def _of_benign(speaker: Speaker, found: list[str], always: list[str]) -> list[IntentAnswer]:
    intents = [
        _intent(speaker.say(INTENTS, "asked.help"), "explicit", "benign", always),
        _intent(speaker.say(INTENTS, "other.help"), "implicit", "benign", []),
    ]
    if found:
        intents.append(_intent(speaker.say(INTENTS, "touches.help"), "implicit", "benign", found))
    elif lot(speaker.key, "faint") < 0.06:
        intents.append(_intent(speaker.say(INTENTS, "faint.help"), "implicit", "malicious", []))
    return intents


def _intent(text: str, kind: str, harm: str, policies: list[str]) -> IntentAnswer:
    return IntentAnswer.model_validate(
        {"intent": text, "kind": kind, "harm": harm, "policies": policies}
    )


def _on_policies(speaker: Speaker, applicable: tuple[str, ...]) -> list[ThoughtAnswer]:
    """A thought per policy up to three; more policies share thoughts, those that always apply coming last."""
    if not applicable:
        return [_thought(speaker.say(SEEDS, "none"))]
    ordered = sorted(applicable, key=lambda policy_id: speaker.by_id[policy_id].applies == "always")
    share = min(-(-len(ordered) // _POLICY_THOUGHTS), MOST_RULES)
    groups = [ordered[start : start + share] for start in range(0, len(ordered), share)]
    return [_on_policy(speaker, group, place) for place, group in enumerate(groups[:10])]


def _on_policy(speaker: Speaker, group: list[str], place: int) -> ThoughtAnswer:
    rules = [speaker.rule_of(policy_id) for policy_id in group]
    name = "guide" if speaker.by_id[group[0]].applies == "always" else "policy"
    text = speaker.take(SEEDS, name, place, **speaker.cites(rules[0]))
    if group[1:]:
        text += speaker.say(SEEDS, "others", place, others=speaker.titles(group[1:]))
    return _thought(text, *rules)


def _wish(speaker: Speaker) -> str:
    """What a benign, implicit intent is after; the explicit one has been dealt with."""
    wishes = [i.text for i in speaker.intents if i.kind == "implicit" and i.harm == "benign"]
    wish = quotable(wishes[0], 90) if wishes else ""
    return wish[:1].lower() + wish[1:]


def _decisive(speaker: Speaker, applicable: tuple[str, ...]) -> list[str]:
    """The rules that the decision names: of the first policy and of the last that always applies."""
    always = [policy_id for policy_id in applicable if speaker.by_id[policy_id].applies == "always"]
    return [
        speaker.rule_of(policy_id) for policy_id in dict.fromkeys((*applicable[:1], *always[-1:]))
    ]


def _thought(text: str, *rules: str) -> ThoughtAnswer:
    return ThoughtAnswer(thought=text, rules=list(rules))
