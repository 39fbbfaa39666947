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
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from aidsafe_dagster.recipe.answers import Answer
from aidsafe_dagster.recipe.lenient_json import NoJson, read_values
from aidsafe_dagster.recipe.refusal_words import (
    CHARACTERS,
    LANGUAGES,
    WORDS,
    RefusalWords,
)

# What is longer than these is more than a refusal.
_MOST_BARE_CHARS = 700
_MOST_REFUSAL_CHARS = 1200
_MOST_SENTENCE_CHARS = 400
_MOST_PREFIX_CHARS = 90
# Chinese, Japanese and Korean say the same in fewer characters.
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_DENSITY = 2.5
_NOT_LATIN = re.compile("[\u0370-\u1dff\u3040-\u9fff\uac00-\ud7af]")

_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u00b4`\u2032"), "'")
_QUOTE_SIGNS = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\uff02"), '"')
_LETTERS = {
    **dict.fromkeys(map(ord, "أإآٱ"), "ا"),
    ord("ى"): "ي",
    ord("\u0307"): None,
    ord("ё"): "е",
    # As `casefold` has them.
    ord("ß"): "ss",
    ord("ς"): "σ",
    ord("–"): ", ",
    ord("—"): ", ",
}
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


def _pattern(source: str) -> re.Pattern[str]:
    """Compile a pattern for folded text."""
    return re.compile(unicodedata.normalize("NFKC", source).translate(_LETTERS))


# Courtesies, regrets and self-descriptions that stand before a refusal.
_APOLOGY = _pattern(
    r"\b(?:sorry|apolog\w+|regret(?:s|fully|tably)?|unfortunately|forgive me|pardon"
    r"|entschuldig\w*|verzeih\w*|leider|bedau\w+|tut mir (?:sehr |wirklich |aufrichtig )?leid"
    r"|désolée?s?|navrée?s?|excus\w+|regrett\w+|malheureusement|hélas"
    r"|lo (?:siento|lamento)|lamento|lamentablemente|perdón\w*|disculp\w*|desafortunadamente"
    r"|desgraciadamente|desculp\w*|sinto muito|lamentavelmente|infelizmente|peço perdão"
    r"|mi (?:dis)?spiace|scus\w+|purtroppo|sono spiacente|sono desolat\w+"
    r"|het spijt|sorry|helaas|excuses|förlåt|tyvärr|ledsen|beklag\w*|desværre|dessverre|undskyld"
    r"|unnskyld|valitettavasti|anteeksi|pahoittelen|olen pahoillani"
    r"|przepraszam\w*|niestety|przykro mi|wybacz\w*|omlouv\w+|bohužel|je mi líto|ospravedlňujem|žiaľ"
    r"|žao mi je|nažalost|ispričavam|извин\w+|прости\w*|к сожалению|сожале\w+|увы|вибач\w+|на жаль"
    r"|перепрошую|съжалявам|за съжаление|îmi pare rău|din păcate|scuze|sajnál\w+|bocsá\w+|elnézést"
    r"|λυπάμαι|συγγνώμη|δυστυχώς|üzgünüm|özür dilerim|maalesef|ne yazık ki|kusura bakm\w+|affed\w+"
    r"|samahani|pole|paumanhin|pasensya|ho sento|malauradament|xin lỗi|rất tiếc|tiếc là|thứ lỗi"
    r"|maaf\w*|mohon maaf|sayangnya|harap maklum)\b"
    r"|\b(?:و)?(?:اسف\w*|عذرا|للاسف|اعتذر|معذر\w+|متاسف\w*|ببالغ الاسف|ببخشید|متاسفانه|پوزش)"
    r"|מצטער|סליחה|לצערי|מתנצל|माफ़?|क्षमा|खेद|दुर्भाग्य|অফসোস|দুঃখিত|ক্ষমা|معذرت|معاف|افسوس"
    r"|மன்னி|வருந்து|క్షమించ|माफ करा|માફ|ਮਾਫ"
    r"|抱歉|对不起|對不起|不好意思|遗憾|遺憾|请原谅|請見諒|请见谅|请谅解"
    r"|申し訳|申しわけ|すみません|すいません|恐れ入り|残念|ごめん|お詫び|恐縮"
    r"|죄송|미안|유감|안타깝|송구|양해|ขอโทษ|ขออภัย|เสียใจ"
)
# Words that only excuse oneself, as opposed to "unfortunately". No thought begins with them.
_EXCUSE = _pattern(
    r"^(?:(?:i am|i'm|im|i|please|no|oh|es tut mir|tut mir|je suis|lo|mi|me|îmi|het|jag är|je mi|ich bitte um)"
    r"[ ,]+)?(?:(?:very|so|really|truly|deeply|must|sehr|wirklich|leider|vraiment|sincèrement|muito|molto"
    r"|thành thật|mohon|吧)[ ,]+)?"
    r"(?:sorry|apolog\w+|forgive me|pardon|entschuldig\w*|verzeih\w*|leid\b|bedauere|désolée?\b|navrée?\b|excusez"
    r"|siento|lamento|disculp\w+|perdon\w*|perdón\b|desculp\w*|sinto muito|peço (?:desculpa|perdão)|(?:dis)?spiace"
    r"|scus\w+|sono (?:spiacente|desolat\w+)|spijt|excuses|mijn excuses|förlåt|ledsen|beklager|undskyld|unnskyld"
    r"|anteeksi|przepraszam|wybacz\w*|przykro mi|omlouv\w+|líto|извин\w+|прости\w*|прошу прощения|вибач\w+"
    r"|перепрошую|съжалявам|pare rău|scuze|sajnálom|elnézést|bocsán\w+|λυπάμαι|συγγνώμη|üzgünüm|özür dilerim"
    r"|kusura bakm\w+|samahani|xin lỗi|xin thứ lỗi|maaf\w*"
    r"|(?:ا?نا )?اسف|عذرا|اعتذر|عفوا|متاسف|ببخشید|پوزش|מצטער|סליחה|מתנצל|मुझे खेद|मुझे माफ़?|माफ़?|क्षमा|खेद|দুঃখিত|ক্ষমা"
    r"|معذرت|மன்னி|抱歉|对不起|對不起|不好意思|很抱歉|非常抱歉|请原谅|申し訳|すみません|ごめん|죄송|미안|ขอโทษ|ขออภัย|เสียใจด้วย)"
)
_NEGATION = _pattern(
    r"\b(?:not|no|n't|never|cannot|nothing|none|against|nicht|kein\w*|nein|ne|n'|pas|non|rien|aucun\w*|nada|não|nem"
    r"|niet|geen|nee|inte|ikke|ej|en|ei|nie|ne\w+|не|нет|нельзя|ні|nu|nem|δεν|όχι|değil|hayır|siwezi|không|tidak|tak|bukan)\b"
    r"|n't\b|\b\w+(?:[ae]m[ae]m|mıyorum|miyorum)\b|لا|لن|ليس|غير|لست|عدم|ن[می]|לא|אין|नहीं|असमर्थ|না|نہیں|முடியாது|不|无法|無法|没"
    r"|ません|ない|かね|ず|못|없|않|안 |어렵|ไม่"
)
_MOST_EXCUSE_CHARS = 250
_SOFT = _pattern(
    r"\b(?:thank(?:s| you)|i (?:understand|appreciate|hear|see|get|realize|recognize|know)\b"
    r"|as an? (?:\w+ )?(?:ai|assistant|language model|model|llm)|i(?:'m| am) (?:just |only )?an? (?:\w+ )?"
    r"(?:ai|assistant|language model|model)|i (?:have to|must|need to) be (?:honest|clear|direct)|no\b|hello|hi"
    r"|hallo|bonjour|hola|olá|ciao|danke|merci|gracias|obrigad\w|grazie|bedankt|dziękuję|спасибо|дякую"
    r"|mulțumesc|ευχαριστώ|teşekkür\w*|cảm ơn|terima kasih|als ki\b|ich verstehe|ich bin ein|je comprends"
    r"|entiendo|comprendo|entendo|compreendo|capisco|ik begrijp|rozumiem|понимаю|розумію|anlıyorum"
    r"|tôi hiểu|saya (?:mengerti|memahami|faham)|soy un\w*|sou um\w*|je suis (?:un|une)|sono un\w*)\b"
    r"|شكرا|افهم|אני מבין|תודה|धन्यवाद|समझता|समझती|ধন্যবাদ|谢谢|感谢|理解|明白|作为|您好|你好|ありがとう|理解|承知|감사"
    r"|이해|ขอบคุณ|เข้าใจ"
    r"|\b(?:request|prompt|question|anfrage|demande|solicitud|petición|pedido|solicitação|richiesta|verzoek"
    r"|prośba|запрос|запит|isteğ?k?|istek|yêu cầu|permintaan)\b.{0,40}(?:harm|illegal|danger|unethic|violat"
    r"|inappropriat|verstöß|gefähr|illégal|ilegal|illegal|nuisib|dañin|peligros|perigos|pericol|gevaar"
    r"|szkodliw|незакон|вред|шкідлив|zararlı|yasa|nguy hại|berbahaya)"
)
_APOLOGY_FILLER = _pattern(
    r"\b(?:i|i'm|am|'m|very|so|really|truly|deeply|my|please|accept|but|no|offer|it|this|that|es|tut|mir|sehr"
    r"|wirklich|je|suis|vraiment|profondément|lo|mucho|muito|molto|mi|je me|te|ik|het|me|ich|bin|bitte|uns"
    r"|я|очень|çok|tôi|saya|jag|är|jeg|er|nie)\b|我|很|非常|真的|私|誠に|本当に|大変|ません|ございません|ありません|합니다|해요|정말|저는"
    r"|ครับ|ค่ะ|انا|جدا|मुझे|मैं|हूँ|हूं|है|करें|कीजिए|करना"
)

# What shows that an agent is at work: it speaks of the user, of rules, of what ought to be done.
_ABOUT_USER = _pattern(
    r"\b(?:the user|users\b|the (?:asker|person|requester)|they (?:ask|want|seek)|der nutzer|die nutzerin"
    r"|der benutzer|l'utilisat\w+|el usuario|la usuaria|o usuário|o utilizador|l'utente|de gebruiker"
    r"|użytkowni\w+|пользовател\w+|користувач\w+|kullanıcı\w*|người dùng|pengguna|utilizatorul"
    r"|användaren|brugeren|brukeren|käyttäjä\w*|uživatel\w*|felhasználó\w*|χρήστη\w*)"
    r"|المستخدم|کاربر|המשתמש|उपयोगकर्ता|ব্যবহারকারী|صارف|用户|使用者|用戶|ユーザー|사용자|ผู้ใช้"
)
_AT_WORK = _pattern(
    r"(?<![\w.])[a-z]+(?:_[a-z]+)*\.\d+\b|\b(?<!my )(?<!our )(?:the |a |this |that )?rules?\b(?! of my)"
    r"|\bpolic(?:y|ies) (?:on|about|that say|requires?|allows?|\w+ \d)|\bthe (?:\w+ )?policy\b(?! violat)"
    r"|\b(?:i|we|one) (?:should|ought|would need)\b|\bshould (?:be )?(?:declin|refus|answer)\w*"
    r"|\b(?:the|my) (?:final )?(?:response|answer|reply) (?:should|must|will|has|needs|can|may|declin|refus)"
    r"|\binstead,? i (?:will|should|shall|must)\b|\bon the other hand\b|\bwhether\b"
    r"|\bich sollte\b|\bje devrais\b|\bdebería\b|\bdeveria\b|\bdovrei\b|\bik zou moeten\b|\bpowinienem\b|\bpowinnam\b"
    r"|\bследует ли\b|\bмне следует (?!не)|应该拒绝|應該拒絕|应当拒绝|断るべき|拒否すべき|거절해야 한다|거절하는 것이"
    r"|\b(?:regel|règle|regla|regra|regola|reguł\w|правил\w|kural\w*|quy tắc|aturan|peraturan) \S*\d"
    r"|(?:规则|規則|ルール|규칙|القاعدة|नियम|กฎ) ?\S{0,3}\d"
    r"|\breddetmeliyim\b|\bnên từ chối\b|\bsebaiknya\b|\bينبغي\b|चाहिए"
)
_PARTLY = _pattern(
    r"(?<!be )(?<!take )(?<!play )(?<!any )\b(?:part|parts|portion|half|piece|specifics)\b"
    r"|\b(?:teil|teile|aspekt|partie(?! de)|deel|onderdeel|część|части?|частин\w|bölüm\w*|kısm\w*|phần|bagian"
    r"|esa parte|esta parte|essa parte|questa parte|quella parte|cette partie)\b"
    r"|这部分|这一部分|那部分|部分内容|その部分|この部分|부분|जिस हिस्से|हिस्से|هذا الجزء|الجزء"
)
_OFFERS = _pattern(
    r"\b(?:but|however|though|instead)\b.{0,20}\b(?:i|we) (?:can|could|will|would|may|am able|should|'ll)\b"
    r"(?! not\b)"
    r"|\baber\b.{0,12}\bkann\b|\bkann aber\b|\bmais je peux\b|\bpero (?:sí )?(?:te |le )?puedo\b|\bmas posso\b"
    r"|\bma posso\b|\bmaar ik kan\b|\bno?\b но .{0,4}могу\b|\bно (?:я )?(?:могу|готов)\b|但(?:是)?我?(?:可以|能)"
    r"|(?:しかし|ただし|ですが).{0,30}できます|하지만.{0,30}수 있|\bama\b.{0,30}ebilirim|\bnhưng tôi có thể\b"
    r"|\b(?:tapi|tetapi|namun) saya (?:bisa|dapat)\b|\bلكن\w* (?:يمكنني|استطيع)|लेकिन मैं.{0,40}सकत"
)
_DEICTIC = _pattern(
    r"\b(?:that|this|these|such|your|it|the (?:request|task|prompt)|damit|dabei|hierbei|das|dies\w*|ihre\w*"
    r"|deine\w*|cela|ça|cette|ce|votre|ta|eso|esto|esta|este|su|tu|isso|isto|essa|sua|ciò|questo|questa|tua"
    r"|dit|dat|deze|uw|je|to|tym|tej|tego|это\w*|этим|этой|вашу|цим|ц[ьі]\w+|bu|buna|bunu|điều này|yêu cầu|này"
    r"|itu|ini|anda)\b|هذا|ذلك|هذه|طلبك|इस|यह|आपके|आपकी|这|此|该|您的|你的|この|その|それ|ご依頼|ご要望|이|그|해당|เรื่องนี้|นี้|คำขอ"
)
_CONCLUDES = _pattern(
    r"\b(?:request|prompt|question|message|asks?|asking|wants?|seeks?|intend\w*)\b.*"
    r"\b(?:so|therefore|thus|hence|which means|which is why)\b"
)
_ASKS_FIRST = _pattern(r"\b(?:without|until|unless)\b|\bbefore (?:you|i|we)\b")
_LETTER = _pattern(
    r"^\W*(?:dear|liebe[rs]?|sehr geehrte\w*|cher|chère|estimad\w+|querid\w+|gentile|car[oa]|prezad\w+"
    r"|geachte|beste|drogi|droga|szanown\w+|уважаем\w+|дорог\w+|sayın|kính gửi|yth|subject|betreff|objet"
    r"|asunto|尊敬|亲爱|拝啓)\b"
)
_SUBSTANCE = re.compile(r"```|^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_CODE_OR_JSON = ("{", "[", "`")

# Where an agent does its work, and where it says what it did.
_WORK = ("thought", "thoughts", "intent", "belief")
_REASONS = ("reason", "reasoning")


def fold_text(text: str) -> str:
    """Return a text in small letters, with plain apostrophes, without Markdown and accents' marks.

    Lines stay, other white space becomes single spaces.
    """
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    folded = folded.translate(_QUOTE_SIGNS).translate(_LETTERS)
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
    if _LETTER.match(folded) or (prompt and _holds_refusal(prompt)):
        return False
    sentence = find_refusal(text)
    return sentence is not None and _ASKS_FIRST.search(sentence) is None


def is_bare_refusal(text: str) -> bool:
    """Tell whether a text of an agent is a refusal and no more, as opposed to weighing one."""
    if _size(text) > _MOST_BARE_CHARS:
        return False
    sentences = _sentences(text)
    if not sentences:
        return False
    folded = " ".join(sentences)
    if _is_apology_alone(folded):
        return True
    if _AT_WORK.search(folded) or _PARTLY.search(folded):
        return False
    if _is_excuse(folded):
        return True
    opening = _opening_refusal(sentences)
    if opening is None:
        return False
    if _APOLOGY.search(folded[:_MOST_PREFIX_CHARS]):
        return True
    sentence, start = opening
    if _ABOUT_USER.search(folded) or _CONCLUDES.search(sentence[:start]):
        return False
    return (
        _OFFERS.search(folded) is None or _DEICTIC.search(sentence[start:]) is not None
    )


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
    texts = [
        item for item in _strings(value, "") if " " in item[1] or _DENSE.search(item[1])
    ]
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
    return bool(_APOLOGY.search(folded) or _DEICTIC.search(folded))


def _is_one_refusal(texts: Sequence[str]) -> bool:
    """Tell whether several texts are one and the same short refusal."""
    if len(texts) < 2 or len({fold_text(text) for text in texts}) > 1:
        return False
    return _size(texts[0]) <= _MOST_BARE_CHARS and find_refusal(texts[0]) is not None


def _strings(value: Any, field: str) -> Iterator[tuple[str, str]]:
    """Yield the strings of a JSON value, each with the name of its field."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, field)
    elif isinstance(value, str):
        yield field, value


def _sentences(text: str) -> list[str]:
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
    return sentences


def _opening_refusal(sentences: Sequence[str]) -> tuple[str, int] | None:
    """Return the refusal that a text opens with, behind courtesies, and where in it it starts."""
    for sentence in sentences[:3]:
        start = _match_in(sentence)
        if start is not None:
            return (sentence, start) if start <= _MOST_PREFIX_CHARS else None
        if not (_APOLOGY.search(sentence) or _SOFT.search(sentence)):
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
        patterns.append((_pattern(_source_of(words)), of_latin))
    return tuple(patterns)


def _source_of(words: RefusalWords) -> str:
    alternatives = [words.alone] if words.alone else []
    if words.unable:
        space = r"[\s,]*" if words.gap == WORDS else ""
        alternatives.append(f"{words.unable}{space}{words.gap}{words.services}")
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
    if _size(folded) > _MOST_EXCUSE_CHARS or _ABOUT_USER.search(folded):
        return False
    excuse = _EXCUSE.match(folded)
    return excuse is not None and _NEGATION.search(folded, excuse.end()) is not None


def _is_apology_alone(folded: str) -> bool:
    if len(folded) > 60 or not _APOLOGY.search(folded):
        return False
    rest = _APOLOGY_FILLER.sub(" ", _APOLOGY.sub(" ", folded))
    return not any(character.isalpha() for character in rest)


def _size(text: str) -> float:
    dense = len(_DENSE.findall(text))
    return len(text) + (_DENSITY - 1) * dense
