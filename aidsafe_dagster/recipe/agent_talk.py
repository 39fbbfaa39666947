"""Detect agent talk: the deliberation leaking into final text ("Agent 2 said", "the refiner").

A model trained on such text learns to mention colleagues that it does not have. The words are
common, so each pattern requires a context that makes them ours. A real estate agent, a round of
golf and "I thought 3 people came" must not match. Words of the user's own prompt ("Who is Agent
47?") may be repeated.
"""

import re

# Verbs of debate. Behind "agent two", they tell a deliberator from, say, a travel agent.
_SAYS = (
    r"(?:sa(?:id|ys)|not(?:ed|es)|argue[sd]|suggest(?:ed|s)|propose[sd]|agree[sd]|disagree[sd]"
    r"|add(?:ed|s)|raise[sd]|point(?:ed|s) out|mention(?:ed|s)|observe[sd]|conclude[sd]"
    r"|stat(?:ed|es)|claim(?:ed|s)|object(?:ed|s)|recommend(?:ed|s)|revise[sd]|flag(?:ged|s)|miss(?:ed|es)|overlook(?:ed|s)|forgot"
    r"|(?:did|do|does)(?:n't| not)|wants?\b|wanted)"
)
_LEAD = r"(?:\b(?:by|as|from|with|and|to|that|than|while|when|since|because|both)\s+)"
_SPEAKS = rf"(?=['\u2019]s\b|\s+(?:(?:has|had|have|also|already|rightly|correctly)\s+)*{_SAYS}\b)"
_NUMBER = r"#?\s?\d+"
_NUMERAL = r"(?:one|two|three|four|five|six|seven|eight)"
# What a thought does to the decision. People's thoughts are *on* something, or *that* it is so.
_DOES = (
    r"(?:covers?|covered|names?|deals?|merges?|combines?|repeats?|adds?|says?|already|above|establish\w*"
    r"|explains?|mentions?|states?|is redundant|are redundant|is kept|are kept)"
)
# "I thought 3 people came": after such a word, `thought` is a verb. A lookbehind must have a fixed
# width, so each word has one of its own.
_NOT_A_VERB = "".join(
    rf"(?<!\b{subject} )"
    for subject in (
        "I",
        "you",
        "he",
        "she",
        "it",
        "we",
        "they",
        "who",
        "people",
        "had",
        "have",
    )
)
# "Round 3" alone may be golf or boxing. In a sentence with one of these words, it is ours.
_DELIBERATION_WORD = (
    r"(?:thoughts?|agents?|agree[ds]?|revis\w+|deliberat\w+|consensus"
    r"|reviewers?|refine[rd])"
)


def _pattern(text: str, *, case: bool = False) -> re.Pattern[str]:
    return re.compile(text, 0 if case else re.IGNORECASE)


# Every pattern needs one of these words, and few texts contain any. This saves most of the time.
_KEYWORDS = _pattern(
    r"agent|review|deliberat|round|thought|refine|initiali|whisperer|decomposer|verdict|the task"
    r"|response"
)

# The group `phrase` is reported unless the prompt contains it; the rest of a pattern is context.
_PATTERNS = (
    # With a capital, "Agent 2" is a name and needs no context.
    _pattern(rf"\b(?P<phrase>Agents?\s{_NUMBER})\b", case=True),
    # "by agents 3", but not "by agents 3 times a week".
    _pattern(
        rf"{_LEAD}(?P<phrase>agents?\s{_NUMBER})\b(?!\s*(?:%|percent|times|days|weeks|months|years|hours))"
    ),
    _pattern(
        rf"\b(?P<phrase>(?:agent|reviewer|deliberator)\s(?:{_NUMBER}|one|two|three)){_SPEAKS}"
    ),
    _pattern(rf"\b(?P<phrase>(?:[Aa]gent|[Rr]eviewer)\s[A-D])\b{_SPEAKS}", case=True),
    _pattern(r"\b(?P<phrase>deliberators?[_ -]?#?\d+)\b"),
    _pattern(r"\b(?P<phrase>deliberators?)\b"),
    _pattern(r"\b(?P<phrase>(?:previous|prior|preceding|earlier|fellow)\s+agents?)\b"),
    _pattern(
        r"\b(?P<phrase>(?:both|all|the\s+(?:other|first|second|third|next|last|previous|earlier|two))\s+(?:agents?|reviewers?))"
        rf"{_SPEAKS}"
    ),
    _pattern(
        r"\b(?P<phrase>round\s#?\d+\s+of\s+(?:the\s+|our\s+)?(?:deliberations?|discussion|debate))\b"
    ),
    _pattern(
        rf"\b(?P<phrase>(?:in|from|during|after)\s+round\s#?\d+)\b(?=[^.!?\n]*\b{_DELIBERATION_WORD}\b)"
    ),
    _pattern(
        rf"\b{_DELIBERATION_WORD}\b[^.!?\n]*\b(?P<phrase>(?:in|from|during|after)\s+round\s#?\d+)\b"
    ),
    _pattern(
        r"\b(?P<phrase>deliberation\s+(?:tasks?|rounds?|phase|log|transcript|so far))\b"
    ),
    _pattern(r"\b(?P<phrase>(?:this|our)\s+deliberations?)\b"),
    _pattern(r"\b(?P<phrase>(?:the|this|my|our)\s+refinement\s+(?:task|step|stage))\b"),
    # "The refiner of crude oil" is somebody else.
    _pattern(r"\b(?P<phrase>the\s+refiner)\b(?!\s+of\b)"),
    _pattern(rf"\b(?P<phrase>the\s+initiali[sz]er){_SPEAKS}"),
    _pattern(r"\b(?P<phrase>ear[- ]whisperer)\b"),
    _pattern(
        r"\b(?P<phrase>the\s+task\s+(?:asks|requires|tells|instructs|wants)\s+(?:me|us|that))\b"
    ),
    _pattern(r"\b(?P<phrase>(?:impartial\s+refiner|intent[- ]decomposer))\b"),
    _pattern(
        r"\b(?P<phrase>verdict(?:\s+is|:)\s+[\"'\u201c]?(?:agree|revise|keep|redundant))\b"
    ),
    _pattern(
        r"\b(?P<phrase>the\s+(?:current|draft|seed|existing)\s+response\s+(?:lacks|lacked|misses|omits"
        r"|needs|already|does not|should)|the\s+response\s+so\s+far)\b"
    ),
    _pattern(
        r"\b(?P<phrase>(?:the|these|those|all)\s+(?:deliberated|kept|dropped|seed)\s+thoughts?)\b"
    ),
    _pattern(
        r"\b(?P<phrase>(?:the|these|all)\s+(?:previous|earlier|preceding|prior|above|existing)\s+thoughts?)"
        rf"(?=\s+{_DOES}\b)"
    ),
    _pattern(
        rf"\b(?P<phrase>(?:the\s+(?:first|second|third|last)|this)\s+thought)(?=\s+{_DOES}\b)"
    ),
    _pattern(
        r"\b(?P<phrase>building\s+on\s+the\s+(?:previous|earlier|prior|first)\s+thoughts?)\b(?!\s+(?:of|on)\b)"
    ),
    _pattern(r"\b(?P<phrase>thoughts?\s*[\[(]#?\d+[\])])"),
    _pattern(
        rf"\b(?P<phrase>thoughts?\s{_NUMERAL}(?:\s+and\s+{_NUMERAL}|(?=\s+{_DOES}\b)))\b"
    ),
    _pattern(
        r"\b(?P<phrase>(?:kept|dropped|merged|judged|discarded)\s+(?:the\s+|these\s+|those\s+|each\s+"
        r"|all\s+|redundant\s+|repetitive\s+)*thoughts?)\b(?!\s+of\b)"
    ),
    _pattern(r"\b(?P<phrase>(?:the\s+final|this)\s+chain\s+of\s+thought)\b"),
    _pattern(rf"\b(?P<phrase>Thoughts?\s{_NUMBER})\b", case=True),
    _pattern(
        rf"{_NOT_A_VERB}\b(?P<phrase>thoughts?\s+(?:#\s?|number\s+|no\.\s?)\d+)\b"
    ),
    _pattern(
        rf"\b(?:by|in|from|of|with|per|see|on|under|drop|keep|merge)\s+(?P<phrase>thought\s{_NUMBER})\b"
    ),
    _pattern(
        rf"{_NOT_A_VERB}\b(?P<phrase>thought\s{_NUMBER})(?=\s*(?:[.,;:)\]'\u2019]|$)"
        rf"|\s+(?:is|was|already|above|below|covers|repeats|applies|and\s+thought|{_SAYS})\b)"
    ),
    _pattern(
        r"\b(?P<phrase>thoughts\s#?\d+\s*(?:,|and|&|-|\u2013|to|through)\s*#?\d+)\b"
    ),
)

# What a table settled, and when. Juries and parliaments deliberate as well.
_OF_THE_TABLE = (
    _pattern(r"\b(?P<phrase>rounds?\s+of\s+(?:the\s+|our\s+)?deliberations?)\b"),
    _pattern(
        r"\b(?P<phrase>the\s+deliberation\s+(?:concluded|agreed|settled|found))\b"
    ),
)
_OTHER_TABLES = _pattern(
    r"\bjur(?:y|ies|ors?)\b|\b(?:court|parliament|committee|council|senate)"
)


def agent_talk(text: str, prompt: str) -> str | None:
    """Return the first phrase that mentions the deliberation; None if there is none.

    A phrase that occurs in the prompt (as whole words, in any case and white space) does not count.
    """
    if not _KEYWORDS.search(text):
        return None
    folded_prompt = _fold(prompt)
    of_the_table = () if _OTHER_TABLES.search(text) else _OF_THE_TABLE
    for pattern in (*_PATTERNS, *of_the_table):
        for match in pattern.finditer(text):
            phrase = str(match["phrase"])
            if not _contains(folded_prompt, _fold(phrase)):
                return phrase
    return None


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _contains(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
