"""The target's answer, read from what it says in its own way: its thoughts and its response.

No schema is sent to the target. Its thoughts are, in this order: the reasoning that the server
delivers apart; a block of reasoning in the text, whose opening tag may have been part of the
prompt; what stands before a label such as "Answer:"; and, where there is none of these, all
paragraphs but the last. A text of one paragraph is a response without thoughts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aidsafe_dagster.recipe.answers import NotAnAnswer
from aidsafe_dagster.recipe.bad_text import announcement, says_nothing
from aidsafe_dagster.recipe.lenient_json import CLOSING, CONTROL_TOKEN, OPENING

# What models call the two parts, in the languages that prompts come in most.
_RESPONSE_WORDS = (
    r"answer|response|reply|antwort|réponse|respuesta|risposta|resposta|antwoord|svar"
    r"|odpowiedź|odpověď|yanıt|cevap|jawaban|(?:câu )?trả lời|ответ|відповідь|απάντηση"
    r"|(?:ال)?(?:إجابة|جواب|رد)|תשובה|پاسخ|उत्तर|जवाब|উত্তর|คำตอบ"
    r"|最终(?:答案|回答|回复)|最終(?:回答|答案)|回答|答案|回复|回覆|答复|答え|返答"
    r"|(?:최종 )?(?:답변|대답|답)"
)
_THOUGHT_WORDS = (
    r"thoughts?(?: process)?|thinking(?: process)?|reasoning|chain[ -]of[ -]thought|analysis"
    r"|step[ -]by[ -]step(?: (?:thinking|reasoning|thoughts?|analysis))?"
    r"|gedanken|überlegung(?:en)?|denkprozess|réflexions?|raisonnement|pensées?|pensamientos?"
    r"|razonamiento|pensamentos?|raciocínio|pensieri|ragionamento|gedachten|redenering"
    r"|rozumowanie|myśli|düşünceler?|akıl yürütme|pemikiran|suy nghĩ|мысли|рассуждени[ея]"
    r"|размышлени[ея]|думки|σκέψεις|(?:ال)?(?:تفكير|أفكار|استدلال)|מחשבות|افکار|विचार|सोच|তর্ক|ความคิด"
    r"|思考(?:过程|過程|プロセス)?|推理(?:过程|過程)?|想法|考え|推論|생각|사고(?: 과정)?|추론"
)
_MARKS = r"[ \t]{0,3}[#>*_\-–—\d.) \t]{0,8}"
# Around the word itself: "So my final answer to the user is:", "Here is the response:".
_BEFORE = r"(?:[a-z'’]{1,12}[ \t]+){0,4}"
_AFTER = r"(?:[ \t]+(?:to|is|be|the|user|would|will|them|you)){0,4}"
_COLON = r"[*_]{0,3}[ \t]*[:：][ \t]*[*_]{0,3}"
_ALONE = r"[*_#]{0,3}[ \t]*$"


def _label(words: str) -> re.Pattern[str]:
    """Match a label at the beginning of a line: followed by a colon, or alone on the line."""
    return re.compile(
        rf"^{_MARKS}(?:{_BEFORE}(?:{words}){_AFTER}{_COLON}|(?:final[ \t]+)?(?:{words}){_ALONE})",
        re.IGNORECASE | re.MULTILINE,
    )


_RESPONSE_LABEL = _label(_RESPONSE_WORDS)
_THOUGHTS_LABEL = _label(_THOUGHT_WORDS)
# "Thoughts: It is harmless. Answer: Take a rake."
_INLINE_LABEL = re.compile(
    rf"(?<=[.!?…。！？।])[ \t]*[*_]{{0,3}}(?:final[ \t]+)?(?:{_RESPONSE_WORDS}){_COLON}",
    re.IGNORECASE,
)
_RESPONSE_TAG = re.compile(r"</?(?:final_)?(?:answer|response|output)>", re.IGNORECASE)
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
# A list, a table, code or an indented text belongs to the paragraph before it.
_CONTINUES = re.compile(r"(?:[-*+•|]|\d{1,3}[.)]|```|~~~|\t| {4})")
# Channels of gpt-oss whose control tokens were left out.
_BARE_CHANNELS = re.compile(
    r"\s{0,9}analysis(?=[A-Z\s])(.*?)assistant\s{0,3}final", re.DOTALL
)


@dataclass(frozen=True)
class TargetAnswer:
    cot: str
    """Empty if the target shows no thoughts."""
    response: str

    @property
    def thoughts(self) -> tuple[str, ...]:
        """The paragraphs of the thoughts."""
        return tuple(_paragraphs(self.cot))


def read_target_answer(
    text: str, reasoning: str, prompt: str, *, prefix: str = "", is_open: bool = False
) -> TargetAnswer:
    """Return thoughts and response of the target.

    Args:
        text: what it says.
        reasoning: what the server delivers apart from it; may be empty.
        prompt: of the user.
        prefix: a beginning of the thoughts that was put into its mouth; it is no thought of it.
        is_open: its text begins within a block of reasoning.

    Raises:
        NotAnAnswer: there is no response.
    """
    block, rest, is_open = _split_reasoning(text, is_open=is_open and not reasoning)
    thoughts = [reasoning, block]
    has_thoughts = any(map(str.strip, thoughts))
    labelled = _split_at_labels(rest)
    # Beside thoughts, a label within the text is part of the response: a quiz has answers.
    if (
        labelled
        and has_thoughts
        and _without_label(labelled[0]) == labelled[0].strip() != ""
    ):
        labelled = None
    if labelled is not None:
        before, response = labelled
        thoughts.append(before)
    elif is_open:
        raise NotAnAnswer("the thoughts end without an answer")
    elif has_thoughts:
        response = rest
    else:
        before, response = _split_paragraphs(rest, prompt)
        thoughts.append(before)
    response = _RESPONSE_TAG.sub("", response).strip()
    if not response:
        raise NotAnAnswer("there is no answer")
    cot = "\n\n".join(filter(None, map(_without_label, thoughts)))
    return TargetAnswer(_without_prefix(cot, prefix), response)


def _split_reasoning(text: str, *, is_open: bool) -> tuple[str, str, bool]:
    """Return the blocks of reasoning, the rest, and whether the last block never ends."""
    blocks = []
    bare = _BARE_CHANNELS.match(text)
    if bare:
        return bare[1], text[bare.end() :], False
    rest = text
    opening = OPENING.match(rest.lstrip())
    if opening:
        rest = rest.lstrip()
    closing = CLOSING.search(rest)
    # A block that the prompt opened has a closing tag alone.
    while closing and (
        opening or is_open or not OPENING.search(rest, 0, closing.start())
    ):
        start = opening.end() if opening else 0
        blocks.append(rest[start : closing.start()])
        rest = rest[closing.end() :].lstrip()
        is_open = False
        opening = OPENING.match(rest)
        closing = CLOSING.search(rest) if opening else None
    if opening:
        rest, is_open = rest[opening.end() :], True
    reasoning = "\n\n".join(_without_tokens(block) for block in blocks)
    return reasoning, _without_tokens(rest), is_open


def _split_at_labels(text: str) -> tuple[str, str] | None:
    """Return what stands before and behind the label of the response; None without one."""
    tag = re.search(r"<(?:final_)?(?:answer|response)>", text, re.IGNORECASE)
    if tag:
        return text[: tag.start()], text[tag.end() :]
    thoughts_label = _THOUGHTS_LABEL.search(text)
    label = _RESPONSE_LABEL.search(text)
    if label is None and thoughts_label and not text[: thoughts_label.start()].strip():
        label = _INLINE_LABEL.search(text)
    if label is None:
        return None
    before, behind = text[: label.start()], text[label.end() :]
    # Some give the answer first and explain it afterwards.
    later = _THOUGHTS_LABEL.search(behind)
    if not before.strip() and later and behind[: later.start()].strip():
        return behind[later.end() :], behind[: later.start()]
    return before, behind


def _split_paragraphs(text: str, prompt: str) -> tuple[str, str]:
    """Return all paragraphs but the last, and the last with what belongs to it."""
    paragraphs = _paragraphs(text)
    start = len(paragraphs) - 1
    while start > 0 and _belongs_to_last(paragraphs, start, prompt):
        start -= 1
    if start <= 0:
        return "", text
    return "\n\n".join(paragraphs[:start]), "\n\n".join(paragraphs[start:])


def _belongs_to_last(paragraphs: list[str], start: int, prompt: str) -> bool:
    """Tell whether the response begins before this paragraph."""
    paragraph = paragraphs[start]
    if _CONTINUES.match(paragraph):
        return True
    # A courtesy at the end is no answer, and what is announced belongs to its announcement.
    is_end = start == len(paragraphs) - 1
    if is_end and says_nothing(paragraph, prompt):
        return True
    return announcement(paragraphs[start - 1], prompt) is not None


def _paragraphs(text: str) -> list[str]:
    return [part.rstrip() for part in _blocks(text.strip()) if part.strip()]


def _blocks(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text; a block of code is one."""
    block: list[str] = []
    fences = 0
    for part in _PARAGRAPHS.split(text):
        block.append(part)
        fences += part.count("```")
        if fences % 2 == 0:
            yield "\n\n".join(block)
            block = []
    if block:
        yield "\n\n".join(block)


def _without_label(thoughts: str) -> str:
    thoughts = thoughts.strip()
    label = _THOUGHTS_LABEL.match(thoughts)
    return thoughts[label.end() :].strip() if label else thoughts


def _without_tokens(text: str) -> str:
    # "<|start|>assistant" stands between two channels.
    text = re.sub(r"<\|start\|>\s{0,3}assistant", "", text)
    text = re.sub(r"<\|channel\|>\s{0,3}(?:analysis|commentary)", "", text)
    return CONTROL_TOKEN.sub("", text).strip()


def _without_prefix(cot: str, prefix: str) -> str:
    words = prefix.split()
    if not words:
        return cot
    # Servers may repeat the beginning with other white space.
    pattern = r"\s+".join(map(re.escape, words))
    match = re.match(pattern, cot)
    return cot[match.end() :].strip() if match else cot
