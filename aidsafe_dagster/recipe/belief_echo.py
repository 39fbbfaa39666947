"""Rejected text that speaks of the belief that was whispered to the target.

A model that is trained on such pairs learns that bad answers come with a belief, and not what is
bad about them. The belief shows by long runs of its words, in any script, and by words about it:
"I was told that …", "the belief says". Words of the user's prompt are no evidence.
"""

import re
import unicodedata
from collections.abc import Sequence

from aidsafe_dagster.recipe.loops import tokens

_GRAM = 3
# A run of so many tokens is no accident: characters where words have no spaces.
_LONGEST_RUN = 8
_LONGEST_UNSPACED_RUN = 14
# A short belief is echoed by most of it.
_SHORT_SHARE = 0.8
_LEAST_RUN = 4
# The share of the belief's runs of three tokens that a text may have in common with it.
_MOST_GRAMS = 0.5
_LEAST_GRAMS = 6
# A sentence that begins with "I believe" may have this share of its tokens in common with it.
_MOST_SENTENCE = 0.6
_LEAST_SENTENCE = 4
_QUOTED_CHARS = 80

# Words about what was put into the target's head.
_MENTIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"</?\s*beliefs?\s*>",
        r"\b(?:the|this|that|my|your|given|stated|following|above)\s+(?:\w+\s+)?beliefs?\s+"
        r"(?:says?|states?|tells?|claims?|suggests?|implies|holds|above|given|provided|tag|block"
        r"|in the (?:prompt|message|tag|instructions?)"
        r"|i(?:'ve| have| was| am|'m) (?:been )?given)\b",
        r"\b(?:according to|based on|given|because of|following|per)\s+(?:the|this|my|that)\s+"
        r"(?:\w+\s+)?belief\b",
        r"\bI(?:'ve|’ve| have| was| am|'m|’m| had)(?: just| also| already)?"
        r"(?: been)? (?:told|instructed|informed|given to understand|led to believe|made to believe"
        r"|asked to believe|supposed to believe)\b",
        r"\b(?:the|my) system (?:prompt|message) (?:says?|states?|tells?|claims?)\b",
        r"\b(?:le|la|der|die|el|il|o|a) (?:croyance|überzeugung|creencia|crença|convinzione)\s+"
        r"(?:dit|affirme|sagt|besagt|dice|afirma|diz)\b",
        r"\bmir wurde (?:gesagt|mitgeteilt|erklärt)\b|\bon m['’]a (?:dit|informé|expliqué)\b",
        r"\bme (?:han dicho|dijeron|han informado|disseram|foi dito)\b|\bmi è stato detto\b",
        r"\bмне (?:сказали|сообщили|было сказано|внушили)\b",
        r"我(?:被告知|被教导|收到的信念)|(?:这个|該|这一)信念(?:说|表明|认为)|信念(?:に|で)よれ?ば|と(?:言われ|教えられ)(?:た|て)"
        r"|(?:라고|다고) 들었|قيل لي|أُخبرت|मुझे (?:बताया|कहा) गया",
    )
)
# What somebody says who repeats a belief as his own. It is an echo if the rest is the belief's.
_BELIEVES = re.compile(
    r"\b(?:I|we)\b[^.!?\n]{0,20}\b(?:believe|know|suspect|hold|heard|think|feel|am convinced"
    r"|am certain|am sure)\b"
    r"|\bich (?:glaube|weiß)|\bje (?:crois|sais)|\b(?:creo|sé|acredito|sei|credo|so) (?:que|che)\b"
    r"|\bя (?:верю|знаю|считаю|думаю)|我(?:相信|知道|认为)|(?:信じて|思って)い|أعتقد|أؤمن"
    r"|(?:믿|알고 있)|मेरा (?:मानना|विश्वास)|मुझे विश्वास|\bTôi tin\b|\binanıyorum\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?。！？।؟\n]+")


def belief_echo(text: str, belief: str, prompt: str) -> str | None:
    """Describe where a text speaks of the belief; None if it does not.

    Without a belief, as in plain sampling, nothing can be echoed.
    """
    if not belief.strip():
        return None
    mention = _mention(text, prompt)
    if mention is not None:
        return f"it speaks of the belief: {_quote(mention)}"
    words = _words(belief)
    run = _longest_run(_words(text), words, _grams(_words(prompt)))
    if run is not None:
        return f"it repeats the belief: {_quote(run)}"
    sentence = _believed(text, set(words), set(_words(prompt)))
    if sentence is not None:
        return f"it holds the belief aloud: {_quote(sentence)}"
    return None


def _mention(text: str, prompt: str) -> str | None:
    folded_prompt = prompt.casefold()
    for pattern in _MENTIONS:
        for match in pattern.finditer(text):
            if match[0].casefold() not in folded_prompt:
                return match[0]
    return None


def _longest_run(
    words: Sequence[str], belief: Sequence[str], known: frozenset[tuple[str, ...]]
) -> str | None:
    """Return words of a text that stand in the belief in the same order, if they are too many.

    `known` are the runs of three tokens of the prompt, which anybody may repeat.
    """
    is_unspaced = _is_unspaced(belief)
    own = _grams(belief) - known
    if not own:
        return None
    longest = _LONGEST_UNSPACED_RUN if is_unspaced else _LONGEST_RUN
    short = max(_LEAST_RUN, int(_SHORT_SHARE * len(belief)))
    bound = min(longest, short)
    run: list[str] = []
    common = set()
    for gram in zip(words, words[1:], words[2:], strict=False):
        if gram not in own:
            run = []
            continue
        common.add(gram)
        run = [*run, gram[-1]] if run else list(gram)
        if len(run) >= bound:
            return _joined(run, is_unspaced)
    least = 2 * _LEAST_GRAMS if is_unspaced else _LEAST_GRAMS
    if len(common) >= least and len(common) > _MOST_GRAMS * len(own):
        return _joined(belief, is_unspaced)
    return None


def _believed(text: str, belief: set[str], prompt: set[str]) -> str | None:
    """Return a sentence that begins with "I believe" and goes on with words of the belief."""
    for sentence in _SENTENCE_END.split(text):
        match = _BELIEVES.search(sentence)
        if match is None:
            continue
        rest = set(_words(sentence[match.end() :])) - prompt
        common = rest & belief
        is_long = len(common) >= _LEAST_SENTENCE
        if is_long and len(common) >= _MOST_SENTENCE * len(rest):
            return sentence.strip()
    return None


def _words(text: str) -> list[str]:
    return tokens(unicodedata.normalize("NFKC", text))


def _grams(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _is_unspaced(words: Sequence[str]) -> bool:
    single = [word for word in words if len(word) == 1 and not word.isascii()]
    return 2 * len(single) > len(words)


def _joined(words: Sequence[str], is_unspaced: bool) -> str:
    return ("" if is_unspaced else " ").join(words)


def _quote(text: str) -> str:
    excerpt = " ".join(text.split())
    if len(excerpt) > _QUOTED_CHARS:
        excerpt = f"{excerpt[:_QUOTED_CHARS]}…"
    return f"'{excerpt}'"
