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
    # A comma ends a run of words, so that no topic has agent talk in it.
    without_agent_talk = _AGENT_TALK.sub(",", text[:300])
    runs = _TOPIC.findall(without_agent_talk)
    longest_run = max(runs, key=len, default="this")
    topic = abridge(longest_run.strip(), 40)
    return Reading(gist, topic, declines, word_stems(text))


def looks_malicious(prompt: Prompt, policies: Policies) -> bool:
    """Return True when the source's category or a word of the prompt speaks of harm."""
    # It has the words of a harmful prompt, and by its words alone nothing tells them apart.
    if prompt.is_twin:
        return False
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
        is_of_category = policy.concerns(prompt.category)
        # One word of the title tells more than one of a rule, as titles are short.
        in_title = word_stems(policy.title) & stems
        if is_of_category or in_title or _overlap(policy, stems) >= _SHARED:
            relevant.append(policy)

    def nearness(policy: Policy) -> float:
        # The roll is less than a word, so it only decides between equals.
        return _overlap(policy, stems) + dice.roll("near", policy.id)

    if not relevant and candidates and looks_malicious(prompt, policies):
        relevant = [max(candidates, key=nearness)]
    return tuple(policy.id for policy in relevant[:_MOST_POLICIES])


def due_policies(prompt: Prompt, policies: Policies, dice: Dice) -> tuple[str, ...]:
    """Return the ids of the policies that a CoT on the prompt has to apply."""
    relevant = relevant_policies(prompt, policies, dice)
    return policies.applicable(prompt.category, relevant)


def best_rule(
    policy: Policy, reading: Reading, dice: Dice, used: frozenset[str]
) -> str:
    """Return the id of the rule that suits a prompt best, an unused one if there is one.

    A rule suits by the words in common, and by being a limit on a prompt that is declined.
    """
    rules = {}
    for number, text in policy.rules.items():
        rules[f"{policy.id}.{number}"] = text
    unused = [rule_id for rule_id in rules if rule_id not in used]

    def suitability(rule_id: str) -> float:
        text = rules[rule_id]
        shared = word_stems(text) & reading.stems
        # The roll is less than a word, so it only decides between equals.
        score = len(shared) + dice.roll(rule_id)
        # Further on, "no" and "never" may belong to an example or an exception.
        beginning = text[:60]
        is_limit = _LIMIT.search(beginning) is not None
        # A rule of a policy that always applies says how to help, limit or not.
        if policy.applies != "always" and is_limit is reading.declines:
            score += 1.5
        return score

    return max(unused or rules, key=suitability)


def policy_of(rule_id: str) -> str:
    """Return the id of the policy that a rule belongs to."""
    policy_id, _, _ = rule_id.partition(".")
    return policy_id


def quotable(text: str, limit: int) -> str:
    """Return one clause of a text, fit to stand in quotation marks; empty if nothing is left."""
    # Four times the limit leaves enough for the clause once markup is gone.
    start = text[: 4 * limit + 40]
    words = _MARKUP.sub(" ", start).split()
    plain = " ".join(words)
    clause = _CLAUSE_END.split(plain, maxsplit=1)[0]
    clause = _AGENT_TALK.sub("\u2026", clause)
    # A full stop inside the quotation would end the sentence that quotes it (`split_sentences`).
    clause = re.sub(r"[.!?]+(?=\s)", ",", clause)
    short = abridge(clause, limit).strip(" .!?,;:'\u2026-")
    return f"{short}\u2026" if len(clause) > limit else short


def abridge(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text, cut between words where there are any."""
    if len(text) <= limit:
        return text
    cut = text[:limit].rpartition(" ")[0]
    # A text without spaces, as in Chinese, is cut anywhere.
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
    text = " ".join((policy.purpose, *policy.rules.values()))
    return len(word_stems(text) & stems)


def _excerpt(prompt: str) -> str:
    """Return both ends of a long prompt, since a request often follows the padding; no tags."""
    if len(prompt) > _LONGEST_PROMPT:
        half = _LONGEST_PROMPT // 2
        prompt = f"{prompt[:half]} \n {prompt[-half:]}"
    return _TAG.sub(" ", prompt)
