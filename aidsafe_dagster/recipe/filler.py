"""Responses that say nothing in many words: offers, courtesies, remarks on the response itself.

Every sentence of such a response is filler, so one sentence of substance is enough to pass. A
prompt that is itself an offer, a courtesy or a call for help may be answered with one.
"""

import re
import unicodedata

_SENTENCE_END = re.compile(r"(?<=[.!?。！？।؟…])\s*|\n+")
_MOST_CHARS = 300
_MOST_PROMPT_WORDS = 6
_YOU = r"(?: you| your? (?:with|out)| with (?:that|this|it|your \w+))*"
_OPENERS = (
    r"(?:sure|sure thing|certainly|absolutely|of course|okay|ok|yes|great|alright|understood"
    r"|no problem|gladly|thank you|thanks|hello|hi)(?: there)?"
)
_LEAD = rf"(?:{_OPENERS}[,!.:–— -]+)*"
_ANSWER = r"(?:response|answer|reply|explanation|solution|information|details?)"
_QUESTION = r"(?:question|request|query|prompt|message|inquiry|concern)"
_TO = rf"(?: (?:to|for|of|on|about) (?:your|the|this|you|that)(?: user'?s?)?(?: {_QUESTION})?)?"
_KIND = (
    r"(?:safe|helpful|short|clear|detailed|good|polite|careful|full|final|updated|revised|complete"
    r"|current|previous|whole|above)"
)
_DUTY = (
    r"(?:\w+ )?(?:warn|explain|include|provide|be|mention|not|avoid|offer|say|tell|inform|advise"
    r"|acknowledge|refuse|decline|respond|answer|give|help)"
)
_FILLER = (
    # Offers of help.
    r"(?:i(?:'d| would| will|'ll| can| am|'m| could)?(?: be| am)? ?(?:also |always |really )?"
    r"(?:happy|glad|pleased|here|delighted|able)? ?(?:to )?"
    rf"(?:help|assist){_YOU}(?: today| further)?)",
    r"i(?:'ll| will)(?: now| do my best to| try to| gladly)* (?:answer|respond|reply|help|address)"
    rf"(?: to)?(?: you| your| the| this| that)?(?: user'?s?)?(?: {_QUESTION})?"
    r"(?: now| accordingly| in detail| step by step| as best i can)?",
    r"i(?:'ll| will) (?:get (?:right )?on it|do my best(?: to (?:help|assist)(?: you)?)?)",
    r"(?:please )?(?:let me know|feel free to (?:ask|reach out|contact me)|don't hesitate to \w+)"
    r"(?:,? (?:if|should|whenever|with|about)\b.{0,80})?",
    r"(?:is there|do you have) (?:anything|any) (?:else|more|other|further)?.{0,60}",
    r"i hope (?:this|that|it)(?: was| is)? ?(?:helps?|helpful|useful|answers.{0,30})(?: you)?",
    # Praise and thanks.
    r"(?:that|this|what)?(?:'s|s| is)? ?an? (?:\w+ ){0,2}(?:good|great|excellent|interesting"
    rf"|important|wonderful|fantastic) {_QUESTION}",
    rf"(?:good|great|excellent|interesting) {_QUESTION}",
    rf"thank you(?: very much| so much)? for (?:your|the|this|asking)(?: \w+)?(?: {_QUESTION})?",
    # Announcements that end with a full stop.
    rf"(?:as requested,? )?here(?:'s| is| are| you go)(?: (?:my|the|your|a|an|some))*"
    r"(?: (?:detailed|full|final|complete|short|safe|helpful|updated|possible))*"
    rf"(?: {_ANSWER})?{_TO}",
    rf"(?:please )?(?:find|see) (?:my|the|your) {_ANSWER}(?:{_TO})? ?(?:below|above|here)?",
    r"let me (?:think|explain|see|answer|help|start|begin|clarify|elaborate)"
    r"(?: (?:about )?(?:this|that|it|you|your question))?(?: for (?:you|a moment))?",
    rf"i (?:understand|see|have read|have received|received|got)(?: what you mean| (?:your|the)"
    rf"(?: user'?s?)? {_QUESTION})?(?: and (?:i )?will (?:respond|answer|reply|help).{{0,20}})?",
    rf"i(?:'ve| have)(?: now)? (?:answered|addressed|responded to) (?:your|the|this) {_QUESTION}",
    r"(?:got it|okay|ok|understood|noted|will do|no problem)",
    # Remarks on the response.
    r"i agree with (?:the|this) (?:response|answer|above|previous)\b.{0,30}",
    rf"(?:the|this|my|your)(?: {_KIND})? (?:response|reply|answer) (?:is|was|looks)(?: \w+)?"
    rf" (?:{_KIND}|(?:provided|given)? ?(?:above|below)|provided|fine|correct|ready)\b.{{0,80}}",
    rf"(?:the|this|my|your)(?: {_KIND})? (?:response|reply|answer) (?:stays|remains|complies"
    r"|follows the|adheres)\b.{0,120}",
    rf"(?:the|this|my)(?: {_KIND})? (?:response|reply|answer) (?:should|must|needs to|will|would)"
    rf" (?:{_DUTY})\b.{{0,120}}",
    rf"the (?:assistant|chatbot|model|ai) (?:should|must|needs to|has to) (?:{_DUTY})\b.{{0,150}}",
    rf"an? (?:{_KIND},? (?:and )?)+response(?: (?:that|which|to)\b.{{0,120}})?",
    r"an? response (?:that|which) .{0,120}",
    r"(?:explain|inform|advise|warn|respond|reassure|remind|encourage|provide)\b.{0,80}"
    r"\bthe user\b(?! (?:manual|interface|guide|name|id)).{0,80}",
    r"no (?:changes?|revision|response|further \w+) (?:is |are )?(?:needed|required|necessary)",
    # The same offers in other languages.
    r"(?:(?:ja|natürlich|klar|sicher|gerne?)[,! ]+)*(?:ich )?(?:helfe|helf) (?:ich )?"
    r"(?:dir|ihnen|euch)(?: (?:dabei|gerne?|damit|weiter))*",
    r"(?:gerne?|natürlich)[,! ]*(?:helfe|kann) ich .{0,40}helfen",
    r"danke für (?:deine|ihre|die) (?:frage|anfrage)|gute frage"
    r"|ich werde (?:nun|jetzt)? ?(?:die|deine|ihre) (?:frage|anfrage) (?:nun |jetzt )?beantworten",
    r"(?:(?:bien sûr|oui|certainement|d'accord)[,! ]+)*(?:je (?:peux|vais|serai\w*)(?: ravie? de)? "
    r"(?:vous|t'|te )? ?aider(?: avec (?:cela|plaisir))?)|merci pour votre question|bonne question"
    r"|je vais (?:maintenant )?répondre à (?:votre|ta|la) question",
    r"(?:(?:¡?claro(?: que sí)?|por supuesto|sí)[,! ]+)*(?:con (?:mucho )?gusto )?(?:te|le|puedo)"
    r" ?ayud\w+(?: con (?:eso|gusto))?|gracias por (?:tu|su) pregunta|buena pregunta",
    r"(?:(?:certo|sì|certamente)[,! ]+)*(?:posso|sarò felice di) aiutar\w+|buona domanda",
    r"(?:(?:claro|sim|com certeza)[,! ]+)*(?:posso|vou|ficarei feliz em) (?:te |lhe )?ajud\w+"
    r"|boa pergunta",
    r"(?:(?:конечно|да|хорошо)[,! ]+)*я (?:с радостью |могу |буду рад\w? )?(?:вам |тебе )?"
    r"(?:помогу|помочь)(?: (?:вам|тебе))?|спасибо за (?:ваш )?вопрос|хороший вопрос",
    r"(?:(?:当然|好的|没问题|可以)[,，! ]*)*我(?:很乐意|可以|会|来|很高兴)"
    r"(?:帮助?|协助|为)(?:你|您|助你|助您)?(?:解答)?"
    r"|(?:这是个?)?(?:一个)?好问题|感谢(?:你|您)的(?:提问|问题)",
    r"(?:(?:もちろん(?:です)?|はい)[、,! ]*)*お?(?:手伝い|答え)(?:いた)?します|良い質問ですね",
    r"(?:(?:물론(?:입니다|이죠)?|네)[,! ]*)*(?:제가 )?도와 ?드리겠습니다|좋은 질문입니다",
    r"(?:(?:بالتأكيد|بالطبع|نعم)[،,! ]*)*(?:يمكنني|سأ|يسعدني) ?(?:أن )?"
    r"(?:مساعدتك|أساعدك|ساعدك)(?: في ذلك)?"
    r"|سؤال (?:جيد|رائع)|شكرا لسؤالك",
)
_SENTENCE = re.compile(rf"{_LEAD}(?:{'|'.join(_FILLER)})")
_OPENER = re.compile(_OPENERS)
_MARKS = " \t.!?。！？।؟…,;:*_#\"'“”»«¡¿-–—"
# The prompt asks for what is said, or about a response.
_MAY_ASK = re.compile(
    r"\b(?:respon[ds]\w*|repl(?:y|ies)|answers?|assistant|chatbot|model|the user|users)\b"
)
_ASKS_FOR_HELP = re.compile(
    r"\b(?:help|assist|can you|could you|are you|do you|hilf|hilfst|helfen|aide[rsz]?|ayuda\w*"
    r"|aiut\w+|ajud\w+)\b|помо|帮|手伝|助け|도와|مساعد",
)


def filler(text: str, prompt: str) -> str | None:
    """Describe a response that is filler in each of its sentences; None if it says something."""
    if len(text) > _MOST_CHARS or "```" in text:
        return None
    sentences = [part.strip(_MARKS) for part in _SENTENCE_END.split(_fold(text))]
    sentences = [part for part in sentences if part]
    question = _fold(prompt)
    if not sentences or _MAY_ASK.search(question) or _is_call_for_help(question):
        return None
    statements = [part for part in sentences if not _OPENER.fullmatch(part)]
    # An opener alone may answer the question: "Yes.", "Absolutely."
    if not statements or not all(map(_SENTENCE.fullmatch, statements)):
        return None
    return f"'{text.strip()[:60]}' says nothing to the user"


def _is_call_for_help(prompt: str) -> bool:
    is_short = len(prompt.split()) <= _MOST_PROMPT_WORDS
    # Scripts without spaces make one word of a sentence, so its length counts as well.
    return is_short and len(prompt) <= 60 and _ASKS_FOR_HELP.search(prompt) is not None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'").strip()
