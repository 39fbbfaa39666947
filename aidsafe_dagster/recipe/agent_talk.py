"""Agent talk: the making-of leaking into the final text ("Agent 2 said", "thought 3", "the refiner").

A model trained on such text learns to speak of colleagues that it does not have. The words are common ones, so each
pattern asks for the context that makes them ours: a real estate agent, a round of golf and "I thought 3 people came"
are none of our business. What the user's own prompt says ("Who is Agent 47?") may be said back.
"""

import re

_SAYS = (
    r"(?:sa(?:id|ys)|not(?:ed|es)|argue[sd]|suggest(?:ed|s)|propose[sd]|agree[sd]|disagree[sd]|add(?:ed|s)|raise[sd]"
    r"|point(?:ed|s) out|mention(?:ed|s)|observe[sd]|conclude[sd]|stat(?:ed|es)|claim(?:ed|s)|object(?:ed|s)"
    r"|recommend(?:ed|s)|revise[sd]|flag(?:ged|s))"
)
_LEAD = r"(?:\b(?:by|as|from|with|and|to|that|than|while|when|since|because|both)\s+)"
_SPEAKS = rf"(?=['\u2019]s\b|\s+(?:(?:has|had|have|also|already|rightly|correctly)\s+)*{_SAYS}\b)"
_NUMBER = r"#?\s?\d+"
_NOT_A_VERB = "".join(
    rf"(?<!\b{subject} )"
    for subject in ("I", "you", "he", "she", "it", "we", "they", "who", "people", "had", "have")
)
_MAKING_OF = (
    r"(?:thoughts?|agents?|agree[ds]?|revis\w+|deliberat\w+|consensus|reviewers?|refine[rd])"
)


def _pattern(text: str, *, case: bool = False) -> re.Pattern[str]:
    return re.compile(text, 0 if case else re.IGNORECASE)


# Every pattern needs one of these words, and few texts have any: this saves most of the time.
_ANY = _pattern(r"agent|review|deliberat|round|thought|refine|initiali|whisperer")

# The group `said` is what must not occur in the prompt; the rest of a pattern is context.
_PATTERNS = (
    _pattern(rf"\b(?P<said>Agents?\s{_NUMBER})\b", case=True),
    _pattern(
        rf"{_LEAD}(?P<said>agents?\s{_NUMBER})\b(?!\s*(?:%|percent|times|days|weeks|months|years|hours))"
    ),
    _pattern(rf"\b(?P<said>(?:agent|reviewer|deliberator)\s(?:{_NUMBER}|one|two|three)){_SPEAKS}"),
    _pattern(rf"\b(?P<said>(?:[Aa]gent|[Rr]eviewer)\s[A-D])\b{_SPEAKS}", case=True),
    _pattern(r"\b(?P<said>deliberators?[_ -]?#?\d+)\b"),
    _pattern(
        r"\b(?P<said>(?:the|an|each|every|both|all|other|previous|first|second|fellow)\s+deliberators?)\b"
    ),
    _pattern(r"\b(?P<said>(?:previous|prior|preceding|earlier|fellow)\s+agents?)\b"),
    _pattern(
        r"\b(?P<said>(?:both|all|the\s+(?:other|first|second|third|next|last|previous|earlier|two))\s+(?:agents?|reviewers?))"
        rf"{_SPEAKS}"
    ),
    _pattern(
        r"\b(?P<said>round\s#?\d+\s+of\s+(?:the\s+|our\s+)?(?:deliberations?|discussion|debate))\b"
    ),
    _pattern(r"\b(?P<said>rounds?\s+of\s+(?:the\s+|our\s+)?deliberations?)\b"),
    _pattern(
        rf"\b(?P<said>(?:in|from|during|after)\s+round\s#?\d+)\b(?=[^.!?\n]*\b{_MAKING_OF}\b)"
    ),
    _pattern(rf"\b{_MAKING_OF}\b[^.!?\n]*\b(?P<said>(?:in|from|during|after)\s+round\s#?\d+)\b"),
    _pattern(r"\b(?P<said>deliberation\s+(?:tasks?|rounds?|phase|log|transcript|so far))\b"),
    _pattern(r"\b(?P<said>(?:this|our)\s+deliberations?)\b"),
    _pattern(r"\b(?P<said>(?:the|this|my|our)\s+refinement\s+(?:task|step|stage))\b"),
    _pattern(r"\b(?P<said>the\s+refiner)\b(?!\s+of\b)"),
    _pattern(rf"\b(?P<said>the\s+initiali[sz]er){_SPEAKS}"),
    _pattern(r"\b(?P<said>ear[- ]whisperer)\b"),
    _pattern(
        r"\b(?P<said>(?:the|these|those|all)\s+(?:deliberated|kept|dropped|seed)\s+thoughts?)\b"
    ),
    _pattern(rf"\b(?P<said>Thoughts?\s{_NUMBER})\b", case=True),
    _pattern(rf"{_NOT_A_VERB}\b(?P<said>thoughts?\s+(?:#\s?|number\s+|no\.\s?)\d+)\b"),
    _pattern(
        rf"\b(?:by|in|from|of|with|per|see|on|under|drop|keep|merge)\s+(?P<said>thought\s{_NUMBER})\b"
    ),
    _pattern(
        rf"{_NOT_A_VERB}\b(?P<said>thought\s{_NUMBER})(?=\s*(?:[.,;:)\]'\u2019]|$)"
        rf"|\s+(?:is|was|already|above|below|covers|repeats|applies|and\s+thought|{_SAYS})\b)"
    ),
    _pattern(r"\b(?P<said>thoughts\s#?\d+\s*(?:,|and|&|-|\u2013|to|through)\s*#?\d+)\b"),
)


def agent_talk(text: str, prompt: str) -> str | None:
    """The first words of a text that speak of its making, None if there are none.

    Words that the prompt itself contains (whole words, any case and white space) do not count.
    """
    if not _ANY.search(text):
        return None
    asked = _folded(prompt)
    found = (match for pattern in _PATTERNS for match in pattern.finditer(text))
    return next(
        (match["said"] for match in found if not _contains(asked, _folded(match["said"]))), None
    )


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _contains(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
