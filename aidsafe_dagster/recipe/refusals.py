"""Refusals: an agent that declines its task, and a response that declines a request.

A response that refuses the user is often right. An agent that will not work on a harmful prompt
is asked again. So there are two questions, and both are answered for many languages by the words of
`recipe/refusal_words.py`:

- `declines_task`: does a whole answer decline the task, in each of its thoughts, in each reason, or
  in all that it says? A thought that weighs a refusal does not count.
- `refuses`: does a text open with a refusal and offer nothing beside it? This is for responses, and
  for answers in prose.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from aidsafe_dagster.recipe.answers import Answer
from aidsafe_dagster.recipe.lenient_json import NoJson, read_values
from aidsafe_dagster.recipe.refusal_words import (
    ABOUT_USER,
    APOLOGY,
    APOLOGY_FILLER,
    AS_A_MODEL,
    ASKS_FIRST,
    AT_WORK,
    CHARACTERS,
    CONCLUDES,
    DEICTIC,
    EXCUSE,
    LANGUAGES,
    LETTER,
    LETTERS,
    NEGATION,
    OFFERS,
    PARTLY,
    SOFT,
    WORDS,
    RefusalWords,
    word_pattern,
)

# What is longer than these is more than a refusal.
_MOST_BARE_CHARS = 700
_MOST_REFUSAL_CHARS = 1200
_MOST_EXCUSE_CHARS = 250
_MOST_SENTENCE_CHARS = 400
_MOST_PREFIX_CHARS = 90
# Chinese, Japanese and Korean say the same in fewer characters.
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_DENSITY = 2.5
_NOT_LATIN = re.compile("[\u0370-\u1dff\u3040-\u9fff\uac00-\ud7af]")

_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u00b4`\u2032"), "'")
_QUOTE_SIGNS = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\uff02"), '"')
_INVISIBLE = re.compile(
    "[\u200b-\u200f\u202a-\u202e\u2060\ufeff\u00ad\u064b-\u0652\u0640]"
)
_MARKDOWN = re.compile(r"[*_#>~|]+|^\s*(?:[-•]|\d+[.)])\s+", re.MULTILINE)
_QUOTED = re.compile(
    r'"[^"]*"|«[^»]*»|‹[^›]*›|「[^」]*」|『[^』]*』|《[^》]*》|(?<![\w.])\'[^\n]{3,}?\'(?!\w)'
)
_SENTENCE_END = re.compile(r"(?<=[.!?。।؟;…])\s*|\n+")

_WORD_GAP = (
    r"(?:(?!(?:but|however|aber|sondern|mais|pero|mas|porém|ma|però|maar|men|ale|но|але|ama|nhưng"
    r"|tapi|tetapi|namun) )[^\s]+ ){0,6}?"
)
_CHARACTER_GAP = r".{0,30}?"
_SUBSTANCE = re.compile(r"```|^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_CODE_OR_JSON = ("{", "[", "`")

# Where an agent does its work, and where it says what it did.
_WORK = ("thought", "thoughts", "intent", "belief")
_REASONS = ("reason", "reasoning")


@lru_cache(maxsize=256)
def fold_text(text: str) -> str:
    """Return a text in small letters, with plain apostrophes, without Markdown and accents' marks.

    Lines stay, other white space becomes single spaces.
    """
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    folded = folded.translate(_QUOTE_SIGNS).translate(LETTERS)
    folded = _MARKDOWN.sub(" ", _INVISIBLE.sub("", folded))
    lines = (" ".join(line.split()) for line in folded.splitlines())
    return "\n".join(line for line in lines if line)


def find_refusal(text: str) -> str | None:
    """Return the first sentence, folded, that refuses in the first person; None if there is none.

    Quoted words do not count. Only the beginning is searched: three sentences.
    """
    for sentence in _sentences(text)[:3]:
        if _match_in(sentence) is not None:
            return sentence
    return None


def refuses(text: str, prompt: str = "") -> bool:
    """Tell whether a response refuses and gives nothing beside: no steps, no list, no code.

    A prompt that holds a refusal itself may be answered with one ("Translate: I can't help you").
    """
    if _size(text) > _MOST_REFUSAL_CHARS or len(_SUBSTANCE.findall(text)) > 1:
        return False
    folded = fold_text(text)
    if LETTER.match(folded) or (prompt and _holds_refusal(prompt)):
        return False
    sentence = find_refusal(text)
    return sentence is not None and ASKS_FIRST.search(sentence) is None


def is_bare_refusal(text: str) -> bool:
    """Tell whether a text of an agent is a refusal and no more, as opposed to weighing one."""
    if _size(text) > _MOST_BARE_CHARS:
        return False
    sentences = _sentences(text)
    if not sentences:
        return False
    folded = " ".join(sentences)
    # In this order since most texts of agents hold a word of the first, and it is found sooner.
    if PARTLY.search(folded) or AT_WORK.search(folded):
        return False
    if _is_apology_alone(folded) or _is_excuse(folded):
        return True
    opening = _opening_refusal(sentences)
    if opening is None:
        return False
    # Who apologizes speaks to somebody, and an agent at work does not.
    apologizes = APOLOGY.search(folded[:_MOST_PREFIX_CHARS]) is not None
    return apologizes or not _weighs(folded, *opening)


def _weighs(folded: str, sentence: str, start: int) -> bool:
    """Tell whether a text with a refusal, at `start` of a sentence, weighs it."""
    if ABOUT_USER.search(folded) or CONCLUDES.search(sentence[:start]):
        return True
    # "I can't do this, but I can …" declines. "I can't say how, but I can say why" does not.
    return OFFERS.search(folded) is not None and not DEICTIC.search(sentence[start:])


def declines_task(answer: Answer) -> bool:
    """Tell whether an answer declines the task.

    It does if all of its thoughts, intents or beliefs are bare refusals, or all of its reasons; if
    it has none of these, its comments; or if all of its texts are the same refusal.
    """
    return _declines(answer.model_dump())


def is_refusal_text(text: str) -> bool:
    """Tell whether a text that is no valid answer refuses: prose that opens so, or such JSON.

    Other JSON, even if broken, may quote a refusal.
    """
    if not text.lstrip().startswith(_CODE_OR_JSON):
        return find_refusal(text[:_MOST_SENTENCE_CHARS]) is not None
    try:
        values = [value.value for value in read_values(text)]
    except NoJson:
        return False
    return any(_declines(value) for value in values)


def _declines(value: Any) -> bool:
    strings: list[tuple[str, str]] = []
    _collect_strings(value, "", strings)
    texts = [item for item in strings if " " in item[1] or _DENSE.search(item[1])]
    if not texts:
        return False
    work = [item for item in texts if item[0] in _WORK]
    reasons = [text for field, text in texts if field in _REASONS]
    if work:
        declines = all(map(_is_declined, work))
    else:
        declines = all(is_bare_refusal(text) for _, text in texts)
    if declines or (reasons and all(map(is_bare_refusal, reasons))):
        return True
    return _is_one_refusal([text for _, text in texts])


def _is_declined(item: tuple[str, str]) -> bool:
    field, text = item
    if not is_bare_refusal(text):
        return False
    # A belief may be that all such requests have to be refused, in the first person.
    return field != "belief" or _speaks_of_this(text)


def _speaks_of_this(text: str) -> bool:
    folded = fold_text(text)
    return bool(APOLOGY.search(folded) or DEICTIC.search(folded))


def _is_one_refusal(texts: Sequence[str]) -> bool:
    """Tell whether several texts are one and the same short refusal."""
    if len(texts) < 2 or _size(texts[0]) > _MOST_BARE_CHARS:
        return False
    # Folding is slow, and mostly the second text is another one already.
    first = fold_text(texts[0])
    if any(fold_text(text) != first for text in texts[1:]):
        return False
    return find_refusal(texts[0]) is not None


def _collect_strings(value: Any, field: str, strings: list[tuple[str, str]]) -> None:
    """Add the strings of a JSON value, each with the name of its field."""
    # Every answer is looked through, and is mostly strings: `isinstance(…, Mapping)` is slow.
    if type(value) is str:
        strings.append((field, value))
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect_strings(item, str(key), strings)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect_strings(item, field, strings)


@lru_cache(maxsize=256)
def _sentences(text: str) -> tuple[str, ...]:
    folded = fold_text(text[: 2 * _MOST_REFUSAL_CHARS])
    # A model that puts all it says in quotation marks quotes nobody.
    if folded[:1] in "\"'" and folded[:1] == folded[-1:] and folded.count('"') <= 2:
        folded = folded.strip("\"'")
    folded = _QUOTED.sub(" … ", folded) if _QUOTED.search(folded) else folded
    sentences = []
    for sentence in _SENTENCE_END.split(folded):
        stripped = sentence.strip(" .!?。।؟;…,:()")
        if stripped:
            sentences.append(stripped[:_MOST_SENTENCE_CHARS])
    return tuple(sentences)


def _opening_refusal(sentences: Sequence[str]) -> tuple[str, int] | None:
    """Return the refusal that a text opens with, behind courtesies, and where in it it starts."""
    for sentence in sentences[:3]:
        start = _match_in(sentence)
        if start is not None:
            return (sentence, start) if start <= _MOST_PREFIX_CHARS else None
        if not (APOLOGY.search(sentence) or SOFT.search(sentence)):
            return None
    return None


@lru_cache(maxsize=1024)
def _match_in(sentence: str) -> int | None:
    """Return where in a folded sentence a refusal starts; None if it has none."""
    is_latin = sentence.isascii() or any("a" <= letter <= "z" for letter in sentence)
    for pattern, of_latin in _patterns():
        if of_latin and not is_latin:
            continue
        match = pattern.search(sentence)
        if match is not None:
            return match.start()
    return None


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[re.Pattern[str], bool], ...]:
    """The pattern of each language, and whether its letters are Latin."""
    patterns = []
    for words in LANGUAGES:
        listed = f"{words.unable}{words.services}{words.alone}"
        of_latin = _NOT_LATIN.search(listed) is None
        patterns.append((word_pattern(_source_of(words)), of_latin))
    return tuple(patterns)


def _source_of(words: RefusalWords) -> str:
    alternatives = [words.alone] if words.alone else []
    if words.unable:
        space, elided = "", ""
        if words.gap == WORDS:
            space, elided = r"[\s,]*", r"(?:\w{1,2}')?"
        alternatives.append(f"{words.unable}{space}{words.gap}{elided}{words.services}")
    source = "|".join(alternatives)
    return source.replace(WORDS, _WORD_GAP).replace(CHARACTERS, _CHARACTER_GAP)


def _holds_refusal(text: str) -> bool:
    folded = fold_text(text[: 2 * _MOST_REFUSAL_CHARS])
    # Here quoted words do count.
    pieces = _SENTENCE_END.split(folded.replace('"', "\n"))
    return any(
        _match_in(piece[:_MOST_SENTENCE_CHARS]) is not None for piece in pieces if piece
    )


def _is_excuse(folded: str) -> bool:
    """Tell whether a short text begins with an excuse and says no to something."""
    if _size(folded) > _MOST_EXCUSE_CHARS or ABOUT_USER.search(folded):
        return False
    excuse = EXCUSE.match(folded) or AS_A_MODEL.search(folded, 0, _MOST_PREFIX_CHARS)
    return excuse is not None and NEGATION.search(folded, excuse.end()) is not None


def _is_apology_alone(folded: str) -> bool:
    if len(folded) > 60 or not APOLOGY.search(folded):
        return False
    rest = APOLOGY_FILLER.sub(" ", APOLOGY.sub(" ", folded))
    return not any(character.isalpha() for character in rest)


def _size(text: str) -> float:
    dense = len(_DENSE.findall(text))
    return len(text) + (_DENSITY - 1) * dense
