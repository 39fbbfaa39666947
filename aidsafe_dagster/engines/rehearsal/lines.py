"""A speaker says lines: a phrase chosen by lot, its fields filled from the prompt and the policies.

A user's text is only ever a value of a field, so braces in it mean nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.lots import lot
from aidsafe_dagster.engines.rehearsal.reading import Reading, fitting_rule, quotable, read
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import Intent, Prompt

MOST_RULES = 8
LONGEST_RESPONSE = 8000

Phrases = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Speaker:
    """One role in front of one prompt, at one place and draw."""

    plan: FaultPlan
    prompt: Prompt
    policies: Policies
    reading: Reading
    intents: tuple[Intent, ...]
    place: str
    draw: int
    by_id: Mapping[str, Policy] = field(repr=False)

    @property
    def stance(self) -> str:
        return "decline" if self.reading.declines else "help"

    @property
    def key(self) -> str:
        """What this speaker's choices of words hang on."""
        return f"{self.plan.settings.seed}\0{self.prompt.prompt_id}\0{self.place}\0{self.draw}"

    def say(self, phrases: Phrases, name: str, about: int = 0, **values: object) -> str:
        """A line of the phrases; `about` numbers lines of the same name, and neighbours differ where they can."""
        lines = phrases[name]
        return self.fill(
            lines[(int(lot(self.key, name) * len(lines)) + about) % len(lines)], **values
        )

    def fill(self, line: str, **values: object) -> str:
        return line.format(gist=self.reading.gist, topic=self.reading.topic, **values)

    def take(self, phrases: Phrases, name: str, about: int = 0, **values: object) -> str:
        """A line of the phrases for this speaker's stance."""
        return self.say(phrases, f"{name}.{self.stance}", about, **values)

    def cites(self, rule_id: str) -> dict[str, str]:
        """The fields that a line about a rule has."""
        policy_id, _, number = rule_id.partition(".")
        policy = self.by_id[policy_id]
        rule = quotable(policy.rules[number], 110) or f"rule {number}"
        title = _title(policy)
        return {"rule_id": rule_id, "rule": rule, "policy": _lowered(title), "Policy": title}

    def rule_of(self, policy_id: str, without: frozenset[str] = frozenset()) -> str:
        return fitting_rule(self.by_id[policy_id], self.reading, self.key, without)

    def titles(self, policy_ids: Iterable[str]) -> str:
        """Policies by their titles, as many as fit into a sentence."""
        names = [_lowered(_title(self.by_id[policy_id])) for policy_id in policy_ids]
        if len(names) > 3:
            names = [*names[:2], f"{len(names) - 2} further policies"]
        return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def a_speaker(
    plan: FaultPlan,
    prompt: Prompt,
    policies: Policies,
    *,
    intents: tuple[Intent, ...],
    place: str,
    draw: int,
) -> Speaker:
    by_id = {policy.id: policy for policy in policies.policies}
    return Speaker(plan, prompt, policies, read(prompt, intents), intents, place, draw, by_id)


def begins(text: str, line: str) -> bool:
    """True when a text begins as a line does, up to its first field; the text may have been cut short."""
    opening = line.partition("{")[0]
    return bool(text) and (text.startswith(opening) or opening.startswith(text))


def _title(policy: Policy) -> str:
    return quotable(policy.title, 60) or policy.id.replace("_", " ")


def _lowered(title: str) -> str:
    """For the middle of a sentence; an abbreviation such as "PII" keeps its capitals."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]
