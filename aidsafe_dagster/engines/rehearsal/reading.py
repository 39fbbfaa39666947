"""How a prompt is read: its gist and topic, whether to decline it, which policies bear on it.

It is word matching, no more: enough to speak about any prompt under any policies. Quotations are
cut to one clause and stripped of what would break a chain of thought: tags, braces, and words such
as "agent" and "round", which are innocent in a prompt and look like agent talk in a final CoT.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aidsafe_dagster.engines.rehearsal.dice import Dice
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import Prompt

_WORDS = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))
_STOP_WORDS = frozenset(_WORDS["stop_words"].split())
_HARM = re.compile(rf"\b(?:{'|'.join(_WORDS['harm_words'])})\b", re.IGNORECASE)
_TOPIC = re.compile(
    rf"(?:\b(?!(?:{'|'.join(_STOP_WORDS)})\b)[^\W_](?:[^\W_]|['\u2019-](?=\w))* ?){{1,4}}",
    re.IGNORECASE,
)
_AGENT_TALK = re.compile(
    r"\b(?:agents?|rounds?|reviewers?|deliberators?|refiners?|initializers?|thoughts? *#?\d+)\b",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"\b(?:do not|don't|never|(?:must|may|shall|should) not|cannot|no)\b", re.I
)
_TAG = re.compile(r"</?[a-zA-Z_]{1,40}>")
_MARKUP = re.compile(r"[<>{}`\"\u201c\u201d*_#|\\\[\]]")
_SUFFIX = re.compile(r"(?:ings?|ed|es|s|ly|ment|ation)$")
# Not after "e.g." or "i.e.", whose next word begins with a small letter or a digit.
_CLAUSE_END = re.compile(r"(?<=[\w)][.!?])\s+(?=[^\W\d_a-z])|;\s")

_LONGEST_PROMPT = 4000
_MOST_POLICIES = 8
_SHARED = 3
"""So many words in common make a policy bear on a prompt."""


@dataclass(frozen=True)
class Reading:
    """A prompt as the speakers see it: its first words, what it is about, its words as stems."""

    gist: str
    topic: str
    declines: bool
    """True when the response has to decline the harmful part."""
    stems: frozenset[str]


def read_prompt(prompt: Prompt, *, declines: bool) -> Reading:
    """Return what a prompt is about."""
    text = _excerpt(prompt.prompt)
    gist = quotable(text, 90) or "a message with hardly a word in it"
    runs = _TOPIC.findall(_AGENT_TALK.sub(",", text[:300]))
    topic = abridge(max(runs, key=len, default="this").strip(), 40)
    return Reading(gist, topic, declines, word_stems(text))


def looks_malicious(prompt: Prompt, policies: Policies) -> bool:
    """Return True when the source's category or a word of the prompt speaks of harm."""
    for policy in policies.policies:
        if policy.applies != "always" and policy.concerns(prompt.category):
            return True
    return _HARM.search(_excerpt(prompt.prompt)) is not None


def relevant_policies(
    prompt: Prompt, policies: Policies, dice: Dice
) -> tuple[str, ...]:
    """Return the ids of policies that bear on a prompt, by category or by words in common.

    Policies that always apply are not among them. A prompt that looks malicious has at least one,
    the nearest.
    """
    stems = word_stems(_excerpt(prompt.prompt))
    candidates = [policy for policy in policies.policies if policy.applies != "always"]
    relevant = []
    for policy in candidates:
        in_title = word_stems(policy.title) & stems
        if (
            policy.concerns(prompt.category)
            or in_title
            or _overlap(policy, stems) >= _SHARED
        ):
            relevant.append(policy)
    if not relevant and candidates and looks_malicious(prompt, policies):
        relevant = [
            max(candidates, key=lambda p: _overlap(p, stems) + dice.roll("near", p.id))
        ]
    return tuple(policy.id for policy in relevant[:_MOST_POLICIES])


def due_policies(prompt: Prompt, policies: Policies, dice: Dice) -> tuple[str, ...]:
    """Return the ids of the policies that a CoT on the prompt has to apply."""
    return policies.applicable(
        prompt.category, relevant_policies(prompt, policies, dice)
    )


def best_rule(
    policy: Policy, reading: Reading, dice: Dice, used: frozenset[str]
) -> str:
    """Return the id of the rule that suits a prompt best, an unused one if there is one.

    A rule suits by the words in common, and by being a limit on a prompt that is declined.
    """
    rules = {f"{policy.id}.{number}": text for number, text in policy.rules.items()}

    unused = [rule_id for rule_id in rules if rule_id not in used]

    def suitability(rule_id: str) -> float:
        text = rules[rule_id]
        score = dice.roll(rule_id)
        score += len(word_stems(text) & reading.stems)
        is_limit = _LIMIT.search(text[:60]) is not None
        # A rule of a policy that always applies says how to help, limit or not.
        if policy.applies != "always" and is_limit is reading.declines:
            score += 1.5
        return score

    return max(unused or rules, key=suitability)


def quotable(text: str, limit: int) -> str:
    """Return one clause of a text, fit to stand in quotation marks; empty if nothing is left."""
    # Four times the limit leaves enough for the clause once markup is gone.
    words = _MARKUP.sub(" ", text[: 4 * limit + 40]).split()
    clause = _CLAUSE_END.split(" ".join(words), maxsplit=1)[0]
    clause = _AGENT_TALK.sub("\u2026", clause)
    clause = re.sub(r"[.!?]+(?=\s)", ",", clause)
    short = abridge(clause, limit).strip(" .!?,;:'\u2026-")
    return f"{short}\u2026" if len(clause) > limit else short


def abridge(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text, cut between words where there are any."""
    if len(text) <= limit:
        return text
    cut = text[:limit].rpartition(" ")[0]
    return cut if len(cut) > limit // 2 else text[:limit]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; at least one, which may be empty."""
    return re.split(r"(?<=[.!?])\s+", text)


@lru_cache(maxsize=1024)
def word_stems(text: str) -> frozenset[str]:
    """Return the content words of a text, each cut to a rough stem."""
    words = re.findall(r"[^\W\d_]{4,}", text.casefold())
    return frozenset(
        _SUFFIX.sub("", word)[:7] for word in words if word not in _STOP_WORDS
    )


def _overlap(policy: Policy, stems: frozenset[str]) -> int:
    return len(word_stems(" ".join((policy.purpose, *policy.rules.values()))) & stems)


def _excerpt(prompt: str) -> str:
    """Return both ends of a long prompt, since a request often follows the padding; no tags."""
    if len(prompt) > _LONGEST_PROMPT:
        half = _LONGEST_PROMPT // 2
        prompt = f"{prompt[:half]} \n {prompt[-half:]}"
    return _TAG.sub(" ", prompt)
