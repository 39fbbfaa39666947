"""Text in another language than the prompt's: a predicate that speaks only when it is sure.

No verdict on short texts, code and quotations, nor where the prompt's language is unknown, where
the prompt holds two scripts, or where it speaks of languages at all ("in French", "translate").
Languages that are hard to tell apart count as one. Who tells a language by its words is handed in
(`quality/languages.py`); a script tells by itself.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection

LanguageOf = Callable[[str], str]
"""Text → ISO 639-1 code of its language, "" where that is not sure."""

ENGLISH = "en"
# Characters, where those of dense scripts count three times.
_LEAST_TEXT = 40
_LEAST_PROMPT = 15
_DENSE_WEIGHT = 3
# Share of a text's letters that makes it a text of a script.
_MAIN_SHARE = 0.8

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
    {"no", "nb", "nn", "da", "sv", "fo", "is"},
    {"id", "ms", "jv", "su", "min"},
    {"hr", "sr", "bs", "sl", "sh", "mk"},
    {"cs", "sk"},
    {"ru", "uk", "be", "bg", "mk", "rue"},
    {"gl", "pt"},
    {"gl", "es", "ca", "an", "ast", "oc"},
    {"nl", "af", "li", "fy"},
    {"de", "lb", "als", "bar"},
    {"hi", "mr", "ne", "bho", "sa"},
    {"ur", "fa", "ps", "sd", "ku", "ckb"},
    {"ar", "arz", "fa"},
    {"zh", "yue", "wuu", "ja"},
    {"tr", "az", "tk"},
    {"kk", "ky", "tt", "ba"},
    {"it", "co", "scn", "nap", "la"},
    {"ga", "gd"},
    {"zu", "xh"},
    {"en", "sco"},
    {"fi", "et"},
    {"fr", "oc", "wa", "br", "ht"},
    {"ro", "mo"},
    {"es", "eu", "ca"},
    {"tl", "ceb", "fil"},
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
    if _NAMES.search(prompt):
        return None
    asked, said = _prose(prompt), _prose(text)
    asked_script, said_script = _main_script(asked), _main_script(said)
    if not asked_script or not said_script:
        return None
    if _weight(asked) < _LEAST_PROMPT or _weight(said) < _LEAST_TEXT:
        return None
    wanted = _OF_SCRIPT.get(asked_script) or language_of(asked)
    if not wanted:
        return None
    if asked_script != said_script:
        found = _OF_SCRIPT.get(said_script) or language_of(said)
        if found and (found in also or _are_alike(wanted, found)):
            return None
        return _reason(f"in {said_script} script", asked_script)
    found = _OF_SCRIPT.get(said_script) or language_of(said)
    if not found or found in also or _are_alike(wanted, found):
        return None
    return _reason(f"in the language '{found}'", wanted)


def _reason(said: str, wanted: str) -> str:
    return f"it is {said}; write in the language of the user's prompt ({wanted})"


def _are_alike(one: str, other: str) -> bool:
    return one == other or any({one, other} <= group for group in _ALIKE)


def _prose(text: str) -> str:
    """Return a text without code, addresses, quotations and numbers."""
    return " ".join(_NOT_PROSE.sub(" ", text).split())


def _main_script(text: str) -> str:
    """Return the script of most letters of a text; "" if there is none, or of no known script."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if character.isalpha():
            name = unicodedata.name(character, "?").split()[0]
            counts[_SCRIPTS.get(name, "")] += count
    # Japanese is written in kana and Chinese characters.
    if counts["Japanese"] >= 0.1 * counts["Chinese"]:
        counts["Japanese"] += counts.pop("Chinese", 0)
    total = counts.total()
    if not total:
        return ""
    script, count = counts.most_common(1)[0]
    return script if count >= _MAIN_SHARE * total else ""


def _weight(text: str) -> int:
    """Return the letters of a text, those of dense scripts three times."""
    weight = 0
    for character in text:
        if character.isalpha():
            name = unicodedata.name(character, "?").split()[0]
            weight += _DENSE_WEIGHT if _SCRIPTS.get(name) in _DENSE else 1
    return weight
