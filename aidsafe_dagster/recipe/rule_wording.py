"""What is wrong with a rule by its words alone: no model is asked.

Two rules are compared by what they are about: their words without those of permission and limit.
If these are nearly the same, the rules are duplicates, or contradict each other where one of them
limits and the other does not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Literal

from aidsafe_dagster.recipe.loops import tokens
from aidsafe_dagster.recipe.rule_words import (
    AT_LEAST,
    AT_MOST,
    EFFORTS,
    HEDGES,
    PROHIBITS,
    STOP,
    UNSPACED_PROHIBITS,
    VAGUE,
)

Relation = Literal["duplicate", "contradiction"]
_SAME = 0.75
_OPPOSITE = 0.6
_OPPOSITE_PART = 0.5
"""Where one rule is about nothing that the other is not about."""
_LEAST_SUBJECT = 2
"""Words that both rules are about."""
_VAGUE_SHARE = 0.25
_LEAST_CONCRETE = 2
_STEM = 6
_LEAST_PLURAL = 3
_OPENING_WORDS = 8
_OPENING_CHARS = 60
_APOSTROPHES = {ord("’"): "'", ord("ʼ"): "'"}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_ID = re.compile(r"\b([A-Za-z][A-Za-z0-9_]{0,63})\.([0-9]{1,3})\b")
_NUMBERED = re.compile(r"\b[Rr]ules? (?:no\.? ?|number |#)?([0-9]{1,3})\b")


@dataclass(frozen=True)
class RulePairing:
    """How two rules relate by their words."""

    first: str
    """The id of the rule."""
    second: str
    relation: Relation
    reason: str


def describe_vagueness(text: str) -> str | None:
    """Say what of a rule two readers would read differently; None if nothing is plain to see."""
    folded = _fold(text)
    words = _words(folded)
    for hedge in HEDGES:
        if re.search(rf"(?<!\w){re.escape(hedge)}(?!\w)", folded):
            return f"'{hedge}' leaves it to whoever reads it; say when"
    vague = list(dict.fromkeys(word for word in words if word in VAGUE))
    concrete = _subject(text) - {_stem(word) for word in vague}
    if vague and len(vague) >= _VAGUE_SHARE * (len(vague) + len(concrete)):
        listing = ", ".join(f"'{word}'" for word in vague)
        return f"{listing}: two readers see different things in it; say what is meant"
    return None


def describe_untestable(text: str) -> str | None:
    """Say why no response could show whether a rule was kept; None if nothing is plain to see."""
    beginning = _fold(text)[:_OPENING_CHARS]
    for effort in EFFORTS:
        if re.search(rf"(?<!\w){re.escape(effort)}\b", beginning):
            return f"'{effort}' asks for an attempt, and a response shows a result"
    if len(_subject(text)) < _LEAST_CONCRETE:
        return "it says too little to tell whether a response keeps it"
    return None


def list_pairings(rules: Mapping[str, str]) -> list[RulePairing]:
    """Return the pairs of rules that are duplicates or contradict each other, by their ids."""
    pairings = []
    for (first, one), (second, other) in combinations(rules.items(), 2):
        relation_and_reason = relate(one, other)
        if relation_and_reason:
            relation, reason = relation_and_reason
            pairings.append(RulePairing(first, second, relation, reason))
    return pairings


def relate(one: str, other: str) -> tuple[Relation, str] | None:
    """Return how two texts of rules relate, with the reason; None if their words do not tell."""
    if tokens(one) == tokens(other):
        return "duplicate", "word for word the same"
    bounds = _opposed_bounds(one, other)
    if bounds:
        return "contradiction", bounds
    return _relate_subjects(one, other)


def _relate_subjects(one: str, other: str) -> tuple[Relation, str] | None:
    subject, other_subject = _subject(one), _subject(other)
    common = subject & other_subject
    if not common:
        return None
    likeness = len(common) / len(subject | other_subject)
    if prohibits(one) is not prohibits(other):
        is_part = common in (subject, other_subject)
        if likeness >= (_OPPOSITE_PART if is_part else _OPPOSITE):
            return (
                "contradiction",
                "about the same, and one forbids what the other asks",
            )
        return None
    if likeness >= _SAME and len(common) >= _LEAST_SUBJECT:
        return "duplicate", f"{likeness:.0%} of what they are about is the same"
    return None


def doubt(rule: str, passage: str) -> str | None:
    """Say why a rule may not follow from its passage, by their words; None without a doubt."""
    numbers = set(re.findall(r"\d+", rule)) - set(re.findall(r"\d+", passage))
    if numbers:
        return f"the passage has no {', '.join(sorted(numbers))}"
    if not _subject(rule) & _subject(passage):
        return "the passage has no word of it"
    if prohibits(rule) and not any(
        limit in PROHIBITS for limit in _words(_fold(passage))
    ):
        has_unspaced = any(limit in passage for limit in UNSPACED_PROHIBITS)
        return None if has_unspaced else "it forbids, and the passage forbids nothing"
    return None


def prohibits(text: str) -> bool:
    """Tell whether a rule limits what a response does, by how it begins."""
    if any(limit in text for limit in UNSPACED_PROHIBITS):
        return True
    opening = _words(_fold(text))[:_OPENING_WORDS]
    # "Never refuse" is no limit.
    return sum(word in PROHIBITS for word in _distinct_limits(opening)) % 2 == 1


def unknown_references(
    text: str, policy_id: str, numbers: Sequence[str], rule_ids: Sequence[str]
) -> Iterator[str]:
    """Yield the rules that a text refers to and that do not exist."""
    own = set(numbers)
    policies = {rule_id.partition(".")[0] for rule_id in rule_ids}
    for policy, number in _ID.findall(text):
        reference = f"{policy}.{number}"
        if policy in policies and reference not in rule_ids:
            yield reference
    for number in _NUMBERED.findall(text):
        if number not in own:
            yield f"{policy_id}.{number}"


def _distinct_limits(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, "do not" and "no … nor" once: two of them in a row are one limit."""
    pairs = {("ne", "pas"), ("ne", "jamais"), ("not", "nor"), ("neither", "nor")}
    for place, word in enumerate(words):
        if place and (words[place - 1], word) in pairs:
            continue
        yield word


@lru_cache(maxsize=4096)
def _subject(text: str) -> frozenset[str]:
    """Return what a rule is about, as stems; pairs of characters where words have no spaces."""
    stems = set()
    for word in _words(_fold(text)):
        if word not in STOP and word not in PROHIBITS and len(word) > 1:
            stems.add(_stem(word))
    rest = text
    for limit in UNSPACED_PROHIBITS:
        rest = rest.replace(limit, " ")
    unspaced = [
        token for token in tokens(rest) if len(token) == 1 and not token.isascii()
    ]
    for first, second in pairwise(unspaced):
        stems.add(first + second)
    return frozenset(stems)


def _opposed_bounds(one: str, other: str) -> str | None:
    """Describe an upper bound of one rule below the lower bound of the other, in the same unit."""
    for upper, lower in ((one, other), (other, one)):
        most = _bounds(AT_MOST, upper)
        least = _bounds(AT_LEAST, lower)
        for unit in most.keys() & least.keys():
            if least[unit] > most[unit]:
                return f"at most {most[unit]} {unit} and at least {least[unit]}"
    return None


def _bounds(words: str, text: str) -> dict[str, int]:
    bounds = {}
    for number, unit in re.findall(rf"\b{words} (\d{{1,6}}) ([a-zà-ÿ]+)", _fold(text)):
        bounds[unit] = int(number)
    return bounds


def _words(folded: str) -> list[str]:
    return _WORD.findall(folded)


def _stem(word: str) -> str:
    is_plural = len(word) > _LEAST_PLURAL and word.endswith("s")
    return word.removesuffix("s" if is_plural else "")[:_STEM]


def _fold(text: str) -> str:
    return " ".join(text.translate(_APOSTROPHES).casefold().split())
