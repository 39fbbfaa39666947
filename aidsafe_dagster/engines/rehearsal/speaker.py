"""A speaker: one role in front of one prompt, with its fault rates, its dice and its phrases.

A user's text is only ever the value of a field of a phrase, so braces in it mean nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from aidsafe_dagster.engines.rehearsal.dice import Dice
from aidsafe_dagster.engines.rehearsal.faults import Fault, RehearsalSettings
from aidsafe_dagster.engines.rehearsal.phrasebook import phrases
from aidsafe_dagster.engines.rehearsal.planted import subject_key
from aidsafe_dagster.engines.rehearsal.reading import (
    Reading,
    best_rule,
    looks_malicious,
    quotable,
    read_prompt,
)
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import Intent, Prompt, Role, Stage

MOST_RULES = 8
"""An answer's thought may cite so many, and an intent name so many policies."""


@dataclass(frozen=True)
class Speaker:
    """One role in front of one prompt."""

    settings: RehearsalSettings
    role: Role
    prompt: Prompt
    policies: Policies
    reading: Reading
    intents: tuple[Intent, ...]
    draw: int
    prompt_dice: Dice
    """For what all calls on a prompt have in common."""
    call_dice: Dice
    """For what differs from call to call and draw to draw. A re-ask counts as the same call."""
    is_contrary: bool = False
    """Of a counterfactual: the second set of policies asks for the opposite answer."""

    @property
    def stance(self) -> str:
        return "decline" if self.reading.declines else "help"

    def rate(self, fault: str) -> float:
        """Return the rate of a fault at this draw."""
        return self.settings.rate(fault, self.draw)

    def rates(self, faults: Iterable[Fault]) -> dict[Fault, float]:
        """Return the rates of faults at this draw, in their order."""
        return {fault: self.rate(fault) for fault in faults}

    def say(self, name: str, about: int = 0, /, **values: object) -> str:
        """Return a phrase of a name; `about` numbers its uses, so that neighbours differ."""
        options = phrases(name)
        start = int(self.call_dice.roll(name) * len(options))
        phrase = options[(start + about) % len(options)]
        return self.fill(phrase, **values)

    def say_by_stance(self, name: str, about: int = 0, /, **values: object) -> str:
        """Return a phrase for declining or for helping, as the prompt demands."""
        return self.say(f"{name}.{self.stance}", about, **values)

    def fill(self, phrase: str, /, **values: object) -> str:
        return phrase.format(gist=self.reading.gist, topic=self.reading.topic, **values)

    def is_always_due(self, policy_id: str) -> bool:
        return self._policy(policy_id).applies == "always"

    def best_rule(self, policy_id: str, used: frozenset[str] = frozenset()) -> str:
        """Return the rule of a policy that suits the prompt best, unused if there is one."""
        return best_rule(self._policy(policy_id), self.reading, self.prompt_dice, used)

    def best_rules(self, policy_ids: Iterable[str]) -> list[str]:
        """Return the best rule of each policy."""
        return [self.best_rule(policy_id) for policy_id in policy_ids]

    def cite(self, rule_id: str) -> dict[str, str]:
        """Return the fields of a phrase about a rule."""
        policy_id, _, number = rule_id.partition(".")
        text = self._policy(policy_id).rules[number]
        # Nothing is quotable in a rule that consists of markup.
        rule = quotable(text, 110) or f"rule {number}"
        return {"rule_id": rule_id, "rule": rule, "policy": self._title(policy_id)}

    def list_titles(self, policy_ids: Iterable[str]) -> str:
        """Return the titles of policies as a list in a sentence, at most three items long."""
        titles = [self._title(policy_id) for policy_id in policy_ids]
        if len(titles) > 3:
            further = len(titles) - 2
            titles = [*titles[:2], f"{further} further policies"]
        *first, last = titles
        if not first:
            return last
        enumeration = ", ".join(first)
        return f"{enumeration} and {last}"

    def implicit_wish(self) -> str:
        """Return what a benign, implicit intent is after; empty if there is none."""
        for intent in self.intents:
            if intent.kind == "implicit" and intent.harm == "benign":
                return _lower_first(quotable(intent.text, 90))
        return ""

    def _policy(self, policy_id: str) -> Policy:
        return next(
            policy for policy in self.policies.policies if policy.id == policy_id
        )

    def _title(self, policy_id: str) -> str:
        title = quotable(self._policy(policy_id).title, 60)
        return _lower_first(title or policy_id.replace("_", " "))


def make_speaker(request: Request, settings: RehearsalSettings) -> Speaker:
    """Return the speaker whom a request is for."""
    inputs = request.inputs
    prompt_dice = Dice((settings.seed, request.prompt_id))
    is_contrary = False
    if request.stage == Stage.POLICY_COUNTERFACTUALS:
        is_contrary = prompt_dice.hits(settings.contrary, "contrary")
    # The initializer is told the intents; a row of a later stage carries them.
    intents: tuple[Intent, ...] = getattr(inputs, "intents", ())
    intents = intents or getattr(inputs.prompt, "intents", ())
    # These two read the prompt before anybody has named an intent.
    if request.role in (Role.SINGLE_LLM, Role.INTENT_DECOMPOSER):
        # Who speaks at such a stage does so under the second set.
        declines = looks_malicious(inputs.prompt, inputs.policies) ^ is_contrary
    else:
        explicit = [intent for intent in intents if intent.kind == "explicit"]
        declines = any(intent.harm == "malicious" for intent in explicit)
    return Speaker(
        settings=settings,
        role=request.role,
        prompt=inputs.prompt,
        policies=inputs.policies,
        reading=read_prompt(inputs.prompt, declines=declines),
        intents=intents,
        draw=request.draw,
        prompt_dice=prompt_dice,
        call_dice=Dice((*prompt_dice.key, *_call_key(request), request.draw)),
        is_contrary=is_contrary,
    )


def _call_key(request: Request) -> list[object]:
    """Tell the calls on a prompt apart; a re-ask has the key of the call that it repeats."""
    key: list[object] = [request.role]
    for name in ("agent", "round", "policy", "subject", "first", "second"):
        value = getattr(request.inputs, name, "")
        # A subject's row may change in ways that no judge sees. Its words are what counts.
        if isinstance(value, Subject):
            value = subject_key(value)
        key.append(value)
    if request.role is Role.TARGET:
        key.append(request.turn - request.inputs.attempt)
    if request.role is Role.EAR_WHISPERER:
        # Each call stands alone: a system message and a task, and two more for every re-ask.
        reasks = len(request.messages) // 2 - 1
        key.append(request.turn - reasks)
    return key


def _lower_first(title: str) -> str:
    """Return a text for the middle of a sentence; "PII" keeps its capitals."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]
