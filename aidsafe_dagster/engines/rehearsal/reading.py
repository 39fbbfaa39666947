"""How a prompt is read: its gist and topic, whether it is to be declined, which policies bear on it.

Word matching, no more: enough for a rehearsal to speak about the prompt and the policies at hand, also those of a user.
Whatever is quoted is cut to one clause and stripped of what would break a chain of thought: tags, braces, and words of
the making-of ("agent", "round"), which may be innocent in a prompt and look like a leak in a final CoT.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from aidsafe_dagster.engines.rehearsal.lots import lot
from aidsafe_dagster.engines.rehearsal.phrases.words import HARM_WORDS, STOP_WORDS
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import CotRow, Intent, Prompt

_HARM = re.compile(rf"\b(?:{HARM_WORDS})\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_MAKING_OF = re.compile(
    r"\b(?:agents?|rounds?|reviewers?|deliberators?|refiners?|initializers?|thoughts? *#?\d+)\b",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"\b(?:do not|don't|never|must not|may not|shall not|should not|cannot|no)\b", re.IGNORECASE
)
_TAG = re.compile(r"</?[a-zA-Z_]{1,40}>")
_LONGEST = 4000


@dataclass(frozen=True)
class Reading:
    """A prompt as the speakers see it."""

    gist: str
    """Its first words, without closing punctuation, at most 90 characters."""
    topic: str
    """What it is about, at most 40 characters."""
    declines: bool
    """The response declines the harmful part."""
    stems: frozenset[str]


def read(prompt: Prompt, intents: tuple[Intent, ...]) -> Reading:
    text = _excerpt(prompt.prompt)
    return Reading(
        gist=quotable(text, 90) or "a message with hardly a word in it",
        topic=_topic(text),
        declines=declines(intents),
        stems=stems(text),
    )


def declines(intents: tuple[Intent, ...]) -> bool:
    """True when what is asked for outright is malicious."""
    return any(intent.kind == "explicit" and intent.harm == "malicious" for intent in intents)


def intents_of(prompt: Prompt) -> tuple[Intent, ...]:
    """The intents that a later stage's row carries; none for a bare prompt."""
    return prompt.intents if isinstance(prompt, CotRow) else ()


def looks_malicious(prompt: Prompt, policies: Policies) -> bool:
    """By the source's category or by the words of the prompt."""
    by_category = any(
        p.applies != "always" and p.concerns(prompt.category) for p in policies.policies
    )
    return by_category or bool(_HARM.search(_excerpt(prompt.prompt)))


def bearing(prompt: Prompt, policies: Policies, seed: int) -> tuple[str, ...]:
    """Ids of the policies that bear on a prompt, at most 8: by category, by words in common.

    A prompt that looks bad has at least one: the nearest, ties by lot.
    """
    said = stems(_excerpt(prompt.prompt))
    relevant = [policy for policy in policies.policies if policy.applies != "always"]
    found = [p.id for p in relevant if p.concerns(prompt.category) or _shares_words(p, said)]
    if not found and relevant and looks_malicious(prompt, policies):
        found = [
            max(
                relevant,
                key=lambda p: _words_shared(p, said) + lot(seed, "bearing", prompt.prompt_id, p.id),
            ).id
        ]
    return tuple(found[:8])


def due_policies(prompt: Prompt, policies: Policies, seed: int) -> tuple[str, ...]:
    """Ids of the policies that a reader of the prompt has to apply: by category, by words, and those that always do."""
    return policies.applicable(prompt.category, bearing(prompt, policies, seed))


def fitting_rule(
    policy: Policy, reading: Reading, key: object, without: frozenset[str] = frozenset()
) -> str:
    """The id of the policy's rule that suits a prompt best: words in common, a limit if it declines; ties by lot.

    Rules in `without` are taken only when nothing else is left.
    """
    left = [
        (f"{policy.id}.{n}", text)
        for n, text in policy.rules.items()
        if f"{policy.id}.{n}" not in without
    ]
    offered = left or [(f"{policy.id}.{n}", text) for n, text in policy.rules.items()]

    def suits(rule: tuple[str, str]) -> float:
        limits = (
            policy.applies != "always" and bool(_LIMIT.search(rule[1][:60])) is reading.declines
        )
        return len(stems(rule[1]) & reading.stems) + 1.5 * limits + lot(key, rule[0])

    return max(offered, key=suits)[0]


def quotable(text: str, limit: int) -> str:
    """One clause of a text, fit to stand between quotation marks; empty when nothing is left of it."""
    text = " ".join(re.sub(r"[<>{}`\"\u201c\u201d*_#|\\\[\]]", " ", text[: 4 * limit + 40]).split())
    sentence = re.split(r"(?<=[\w)][.!?])\s+(?=[^\W\d_a-z])|;\s", text, maxsplit=1)[0]
    sentence = re.sub(r"[.!?]+(?=\s)", ",", _MAKING_OF.sub("\u2026", sentence))
    return abridged(sentence, limit).strip(" .!?,;:'\u2026-") + (
        "\u2026" if len(sentence) > limit else ""
    )


def abridged(text: str, limit: int) -> str:
    """At most `limit` characters of a text, cut between words where there are any."""
    if len(text) <= limit:
        return text
    cut = text[:limit].rpartition(" ")[0]
    return cut if len(cut) > limit // 2 else text[:limit]


@lru_cache(maxsize=1024)
def stems(text: str) -> frozenset[str]:
    """The content words of a text, each cut to a rough stem."""
    words = (
        word for word in re.findall(r"[^\W\d_]{4,}", text.casefold()) if word not in STOP_WORDS
    )
    return frozenset(re.sub(r"(?:ings?|ed|es|s|ly|ment|ation)$", "", word)[:7] for word in words)


def _shares_words(policy: Policy, said: frozenset[str]) -> bool:
    if stems(policy.title) & said:
        return True
    return _words_shared(policy, said) >= 3


def _words_shared(policy: Policy, said: frozenset[str]) -> int:
    return len(stems(" ".join((policy.purpose, *policy.rules.values()))) & said)


def _excerpt(prompt: str) -> str:
    """Both ends of a long prompt, as a request often comes after the padding; without tags."""
    if len(prompt) > _LONGEST:
        prompt = prompt[: _LONGEST // 2] + " \n " + prompt[-_LONGEST // 2 :]
    return _TAG.sub(" ", prompt)


def _topic(text: str) -> str:
    """The longest run of up to four content words near the start."""
    runs: list[list[str]] = [[]]
    for part in re.split(r"([.,;:!?()\n\u2026]+)", _MAKING_OF.sub(",", text[:300])):
        for word in _WORD.findall(part):
            if word.casefold() in STOP_WORDS or len(runs[-1]) == 4:
                runs.append([])
            if word.casefold() not in STOP_WORDS:
                runs[-1].append(word)
        runs.append([])
    longest = max(runs, key=lambda run: sum(map(len, run)))
    return abridged(" ".join(longest), 40) or "this"
