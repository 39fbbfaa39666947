"""Text in another language than the prompt's: a predicate that speaks only when it is sure.

No verdict on short texts, code and quotations, nor where the prompt's language is unknown, where
the prompt holds two scripts, or where it speaks of languages at all ("in French", "translate").
Languages that are hard to tell apart count as one. Who tells a language by its words is handed in
(`quality/languages.py`); a script tells by itself.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from aidsafe_dagster.recipe.records import Prompt

LanguageOf = Callable[[str], Mapping[str, float]]
"""Text → probability (0 to 1) of each language, by its ISO 639-1 code, the likeliest first."""

ENGLISH = "en"
# Characters, where those of dense scripts count three times.
_LEAST_TEXT = 40
_LEAST_PROMPT = 15
_DENSE_WEIGHT = 3
# A text is in a language from this probability on, and is not in it below the second.
_SURE = 0.99
_RULED_OUT = 0.01
# A prompt in Latin letters may be Hindi. So its own language has to be likely too.
_LIKELY = 0.9
# Share of a text's letters that makes it a text of a script.
_MAIN_SHARE = 0.8
# Less may be names, terms and quotations.
_SECOND_SHARE = 0.3
_LEAST_SECOND = 60

_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\S+@\S+|\$[^$\n]*\$|<[^<>\n]{1,80}>"
    r'|"[^"]*"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|「[^」]*」|『[^』]*』|\S*[\d_{}=<>|\\/]\S*',
    re.DOTALL,
)
_SCRIPTS = {
    "LATIN": "Latin",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "BENGALI": "Bengali",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "THAI": "Thai",
    "HANGUL": "Korean",
    "CJK": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
}
_DENSE = ("Chinese", "Japanese", "Korean")
# Prompts in these scripts are in one language, or in one of a few that share it.
_OF_SCRIPT = {
    "Japanese": "ja",
    "Chinese": "zh",
    "Korean": "ko",
    "Thai": "th",
    "Greek": "el",
}
# Whoever cannot tell these apart in a few words is no worse than most.
_ALIKE = (
    {"no", "da", "sv"},
    {"id", "ms"},
    {"hr", "sr", "bs", "sl", "mk"},
    {"cs", "sk"},
    {"ru", "uk", "be", "bg", "mk"},
    {"gl", "pt"},
    {"gl", "es", "ca"},
    {"nl", "af"},
    {"hi", "mr", "ne"},
    {"ur", "fa", "ar"},
    {"tr", "az"},
    {"fi", "et"},
)
_NAMES = re.compile(
    r"translat|übersetz|tradu[cizç]|traduis|vertal|перевед|перевод|переклад|tłumacz|přelož|çevir|ترجم|अनुवाद"
    r"|翻译|翻譯|翻訳|번역|dịch|terjemah|แปล|\blanguages?\b|\bsprachen?\b|\blangues?\b|\bidiomas?\b|\blinguas?\b"
    r"|\blíngua|\btaal\b|язык|język|\bdil(?:i|de|inde)?\b|لغة|भाषा|语言|語|언어|tiếng|\bbahasa\b|\bbilingual|\baccent\b"
    r"|\b(?:english|french|german|spanish|portuguese|italian|dutch|russian|ukrainian|polish|czech|turkish"
    r"|arabic|hindi|urdu|bengali|chinese|mandarin|cantonese|japanese|korean|vietnamese|indonesian|malay|thai"
    r"|swedish|danish|norwegian|finnish|greek|hebrew|persian|farsi|latin|hungarian|romanian|swahili|tagalog"
    r"|esperanto|catalan|tamil|telugu|punjabi)\b"
    r"|\w*(?:englisch|deutsch|französisch|spanisch|portugiesisch|italienisch|russisch|chinesisch|japanisch"
    r"|niederländisch|polnisch|türkisch|arabisch)\w*"
    r"|\b(?:anglais|allemand|français|espagnol|portugais|italien|russe|chinois|japonais|arabe|inglés|alemán"
    r"|francés|español|portugués|italiano|ruso|chino|japonés|árabe|inglês|alemão|francês|espanhol|português"
    r"|russo|chinês|japonês|inglese|tedesco|francese|spagnolo|portoghese|cinese|giapponese|engels|duits|frans"
    r"|spaans|italiaans|chinees|japans|ingilizce|almanca|fransızca|ispanyolca|türkçe|arapça|rusça|inggris"
    r"|jerman|prancis|spanyol|arab|jepang|mandarin)\b"
    r"|английск|немецк|французск|испанск|русск|китайск|японск|англійськ|німецьк|українськ|angielsk|niemieck"
    r"|francusk|hiszpańsk|polsk|الانجليزية|الإنجليزية|العربية|الفرنسية|الألمانية|अंग्रेज|हिंदी|हिन्दी|英文|中文|日文|法文|德文|영어|한국어|일본어|중국어",
    re.IGNORECASE,
)


def other_language(
    text: str, prompt: str, language_of: LanguageOf, also: Collection[str] = ()
) -> str | None:
    """Describe a text in another language than the prompt's; None if it is in it, or not sure.

    `also` are the codes of languages that are as good as the prompt's.
    """
    asked, said = _prose(prompt), _prose(text)
    asked_script, said_script = _main_script(asked), _main_script(said)
    if not asked_script or _NAMES.search(prompt):
        return None
    if _weight(asked) < _LEAST_PROMPT or _weight(said) < _LEAST_TEXT:
        return None
    if not said_script:
        return _mixed_scripts(said, asked_script)
    language = _OF_SCRIPT.get(said_script) or _sure_language(language_of(said))
    if not language or language in also:
        return None
    prompts = language_of(asked)
    if asked_script in _OF_SCRIPT:
        prompts = {_OF_SCRIPT[asked_script]: 1.0}
    wanted = next(iter(prompts), "")
    is_vague = asked_script != said_script and _share(prompts, wanted) < _LIKELY
    if is_vague or _share(prompts, language) >= _RULED_OUT:
        return None
    return f"it is in another language ('{language}') than the user's prompt; write in that one"


def not_in_language(
    text: str,
    prompt: str,
    wanted: str,
    language_of: LanguageOf,
    also: Collection[str] = (),
) -> str | None:
    """Describe a text that is not in the language of a code; None if it is in it, or not sure.

    For `also`, see `other_language`. A prompt that speaks of languages may ask for another one.
    """
    said = _prose(text)
    script = _main_script(said)
    if _NAMES.search(prompt) or not script or _weight(said) < _LEAST_TEXT:
        return None
    shares = {_OF_SCRIPT[script]: 1.0} if script in _OF_SCRIPT else language_of(said)
    language = _sure_language(shares)
    is_wanted = not language or _share(shares, wanted) >= _RULED_OUT
    if is_wanted or language in also:
        return None
    return f"it is in another language ('{language}') than it has to be ('{wanted}'); write in that"


def asked_text(prompt: Prompt) -> str:
    """Return the text that tells the language of a prompt.

    The last turn of a conversation does, unless it is too short to tell: "Go on." Then the user's
    turns before it count as well.
    """
    text = prompt.prompt
    for turn in reversed(prompt.earlier):
        if _weight(_prose(text)) >= _LEAST_PROMPT:
            break
        if turn.role == "user":
            text = f"{turn.content}\n\n{text}"
    return text


def told_language(text: str, language_of: LanguageOf) -> str:
    """Return the language of a text where it is sure: by its script, or by its words.

    Returns:
        The code; empty for a text that is short, of several scripts, or of no sure language.
    """
    prose = _prose(text)
    script = _main_script(prose)
    if not script or _weight(prose) < _LEAST_PROMPT:
        return ""
    return _OF_SCRIPT.get(script) or _sure_language(language_of(prose))


def _sure_language(shares: Mapping[str, float]) -> str:
    language = next(iter(shares), "")
    return language if _share(shares, language) >= _SURE else ""


def _share(shares: Mapping[str, float], language: str) -> float:
    """Return the probability of a language and those like it."""
    total = 0.0
    for other, share in shares.items():
        if are_alike(language, other):
            total += share
    return total


def are_alike(one: str, other: str) -> bool:
    """Tell whether two codes are of one language, or of two that are easily taken for it."""
    return one == other or any({one, other} <= group for group in _ALIKE)


def _prose(text: str) -> str:
    """Return a text without code, addresses, quotations and numbers."""
    return " ".join(_NOT_PROSE.sub(" ", text).split())


def _mixed_scripts(text: str, wanted: str) -> str | None:
    """Describe a text of which a good part is in another script than the wanted one."""
    counts = _count_scripts(text)
    total = counts.total()
    for script, count in counts.most_common():
        is_foreign = script not in (wanted, "")
        # Japanese is written in Chinese characters too.
        is_foreign = is_foreign and {wanted, script} != {"Chinese", "Japanese"}
        weight = count * (_DENSE_WEIGHT if script in _DENSE else 1)
        if is_foreign and count >= _SECOND_SHARE * total and weight >= _LEAST_SECOND:
            return (
                f"a good part of it is in {script}; write in the language of the prompt"
            )
    return None


def _main_script(text: str) -> str:
    """Return the script of most letters of a text; "" if there is none, or of no known script."""
    counts = _count_scripts(text)
    total = counts.total()
    if not total:
        return ""
    script, count = counts.most_common(1)[0]
    return script if count >= _MAIN_SHARE * total else ""


def _count_scripts(text: str) -> Counter[str]:
    """Return the number of letters of each script; "" is any that is not known."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if character.isalpha():
            name = unicodedata.name(character, "?").split()[0]
            counts[_SCRIPTS.get(name, "")] += count
    # Japanese is written in kana and Chinese characters.
    if counts["Japanese"] >= 0.1 * counts["Chinese"]:
        counts["Japanese"] += counts.pop("Chinese", 0)
    return counts


def _weight(text: str) -> int:
    """Return the letters of a text, those of dense scripts three times."""
    weight = 0
    for character in text:
        if character.isalpha():
            name = unicodedata.name(character, "?").split()[0]
            weight += _DENSE_WEIGHT if _SCRIPTS.get(name) in _DENSE else 1
    return weight
