"""JSON objects in a model's text, which may hold reasoning, prose, fences and faulty JSON as well.

Without guided decoding that is how models answer. What is read leniently is told as `mends`, in a
few words each. A text that ends before its object is closed is never completed: the library that
mends the syntax would do so silently, and half an answer would pass for a whole one.

All searches are linear in the length of the text: it comes from outside.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import json_repair

_TAG = (
    r"(?:[a-z]{1,12}[:_])?"
    r"(?:think|thinking|thought|reason|reasoning|reflection|analysis|scratchpad)"
)
# The final channel of gpt-oss. Without its control tokens, a text begins with the name of one.
_FINAL_CHANNEL = (
    r"<\|channel\|>\s{0,3}final"
    r"(?:\s{0,3}<\|constrain\|>\s{0,3}\w{0,12})?"
    r"\s{0,3}<\|message\|>"
)
CLOSING = re.compile(
    rf"</\s{{0,3}}{_TAG}\s{{0,3}}>"
    rf"|\[/{_TAG}\]"
    r"|◁/think▷"
    r"|<\|(?:end_of_thought|end_thinking|inner_suffix)\|>"
    rf"|{_FINAL_CHANNEL}",
    re.IGNORECASE,
)
OPENING = re.compile(
    rf"<{_TAG}(?:\s[^<>]{{0,60}})?>"
    rf"|\[{_TAG}\]"
    r"|◁think▷"
    r"|<\|(?:begin_of_thought|start_thinking|inner_prefix)\|>"
    r"|<\|channel\|>\s{0,3}(?:analysis|commentary)",
    re.IGNORECASE,
)
_BARE_CHANNEL = re.compile(r"\s{0,9}analysis(?=[A-Z\s])")
_BARE_FINAL = re.compile(r"assistant\s{0,3}final(?=\s{0,9}[{`])")

# An object, rather than a brace in prose or in a formula.
_OBJECT_START = re.compile(r"\{\s*(?:\\?[\"'“”‘’]|[A-Za-z_][\w -]{0,40}:|//|/\*|#|\})")
_STRUCTURE = re.compile(r'["{}]')
_STRING_END = re.compile(r'\\.|"', re.DOTALL)
_FENCE = re.compile(r"(?:```|~~~)[ \t]*\w{0,12}")
CONTROL_TOKEN = re.compile(r"<\|[^<>|]{1,40}\|>|</?s>|\ufeff")
# Strings come first, so that nothing inside of one is taken for anything else.
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"?'
_COMMENT_OR_LITERAL = re.compile(
    rf"{_STRING}|//[^\n]*|/\*.*?(?:\*/|\Z)|\b(?:True|False|None)\b", re.DOTALL
)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
_JSON_LITERALS = {"True": "true", "False": "false", "None": "null"}
# The last character of a whole object before its brace. A string that was cut ends otherwise.
_OBJECT_END = re.compile(
    r"""(?<!\\)["'”\]}\d]\s*\}\Z|(?:true|false|null|None)\s*\}\Z""", re.IGNORECASE
)
# All quotation marks are escaped: the object was taken out of a string.
_ESCAPED_START = re.compile(r'\{\s*\\"')
_ESCAPED_END = re.compile(r"(?:\\\"|[\]}\d])\s*\}\Z")

# An answer's own object is among the last ones. Thousands of them are no answer.
_MOST_OBJECTS = 16
# Mending takes some 5 µs a character. No server's limit of tokens lets an answer be that long.
_MOST_MENDED_CHARS = 100_000
_MOST_TRAILING_CHARS = 200

CONTROL_CHARACTERS = "control characters"
JSON_IN_STRING = "JSON in a string"


class NoJson(ValueError):
    """The text holds no JSON object, or not a whole one."""


@dataclass(frozen=True)
class JsonValue:
    """A value that was read from a text, and what was mended to read it."""

    value: Any
    mends: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Span:
    start: int
    end: int

    def covers(self, marker: re.Match[str]) -> bool:
        """Return True if the marker is inside: then it is part of a string."""
        return self.start < marker.start() and marker.end() < self.end


@dataclass(frozen=True)
class ReasonedText:
    """A text with the borders of its reasoning.

    Chat templates often open the reasoning themselves, so the closing tag may stand alone.
    """

    text: str

    @cached_property
    def closings(self) -> list[re.Match[str]]:
        closings = list(CLOSING.finditer(self.text))
        if _BARE_CHANNEL.match(self.text):
            closings.extend(_BARE_FINAL.finditer(self.text))
        return sorted(closings, key=re.Match.start)

    @cached_property
    def opening(self) -> re.Match[str] | None:
        """The tag that opens reasoning without an end."""
        return OPENING.search(self.text, self.end)

    @property
    def end(self) -> int:
        """Where the last block of reasoning ends; 0 without one."""
        return self.closings[-1].end() if self.closings else 0

    @property
    def first_end(self) -> int:
        return self.closings[0].end() if self.closings else 0

    @property
    def rest(self) -> str:
        """What the model said besides its reasoning."""
        # A tag inside of a JSON text belongs to one of its strings.
        if not (self.closings or self.opening) or _is_json(self.text):
            return self.text
        stop = self.opening.start() if self.opening else None
        return self.text[self.end : stop].strip()

    def admits(self, span: _Span) -> bool:
        """Return True if the object is an answer, and not a draft in the reasoning."""
        if self.closings:
            closing = self.closings[-1]
            if span.end <= closing.start():
                # Some models never leave their reasoning, and end it with the answer.
                between = self.text[span.end : closing.start()][:_MOST_TRAILING_CHARS]
                return _is_blank(between) and self._ends_at(closing.end())
            if span.start < closing.end() and not span.covers(closing):
                return False
        if self.opening and self.opening.end() <= span.start:
            return self._ends_at(span.end)
        return True

    def _ends_at(self, position: int) -> bool:
        trailing = self.text[position : position + _MOST_TRAILING_CHARS + 1]
        return len(trailing) <= _MOST_TRAILING_CHARS and _is_blank(trailing)


def without_reasoning(text: str) -> str:
    """Return what a model said besides its reasoning; unchanged if there is none."""
    return ReasonedText(text).rest


def read_values(text: str) -> Iterator[JsonValue]:
    """Return the JSON values that may be the answer, the likeliest first.

    If the text as a whole is JSON, that is the only one. Otherwise they are the objects in it, from
    the last to the first: reasoning often drafts some before.

    Raises:
        NoJson: the text holds no object, or ends before its object is closed.
    """
    whole = _load(text)
    if whole:
        yield from _unwrapped(whole)
        return
    has_object = False
    for value in _objects(text):
        has_object = True
        yield value
    if not has_object:
        raise NoJson(_why_not_json(text))


def _unwrapped(whole: JsonValue) -> Iterator[JsonValue]:
    # JSON that was encoded twice.
    inner = unquoted(whole.value)
    if inner is None:
        yield whole
    else:
        yield JsonValue(inner, (*whole.mends, JSON_IN_STRING))


def unquoted(value: object) -> Any:
    """Return the object or list that a string holds as JSON; None if it holds none."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return None
    inner = _load(value)
    return inner.value if inner else None


def _objects(text: str) -> Iterator[JsonValue]:
    reasoned = ReasonedText(text)
    mendable_chars = _MOST_MENDED_CHARS
    for span in _admitted_spans(reasoned):
        body = text[span.start : span.end]
        value = _read_object(body)
        if not value and len(body) <= mendable_chars:
            mendable_chars -= len(body)
            value = _mended_object(body)
        if value:
            mends = _mends_around(reasoned, span)
            yield JsonValue(value.value, (*mends, *value.mends))


def _admitted_spans(reasoned: ReasonedText) -> list[_Span]:
    spans: dict[_Span, None] = {}
    cut: NoJson | None = None
    # Before the end of the reasoning there may be an object that has such a tag in a string, or one
    # that ends the reasoning with nothing after it.
    for start in dict.fromkeys((reasoned.end, reasoned.first_end, 0)):
        try:
            latest = _spans(reasoned.text, start)[-_MOST_OBJECTS:]
        except NoJson as error:
            cut = cut or error
            continue
        for span in reversed(latest):
            if reasoned.admits(span):
                spans[span] = None
    if cut and not spans:
        raise cut
    return list(spans)


def _read_object(text: str) -> JsonValue | None:
    value = _load(text)
    if value:
        return value
    if _ESCAPED_START.match(text):
        string = _load(f'"{text}"')
        value = string and _load(string.value)
        return value and JsonValue(value.value, (JSON_IN_STRING,))
    return None


def _mended_object(text: str) -> JsonValue | None:
    # The library reads a backslash before another escape wrongly, so it gets only the rest.
    tidied = _load(_tidied(text))
    if tidied:
        return JsonValue(tidied.value, ("JSON syntax",))
    try:
        mended = json_repair.loads(text, skip_json_loads=True)
        # The library leaves the two halves of an escaped emoji apart.
        mended = json.loads(json.dumps(mended))
    except (ValueError, RecursionError):
        return None
    if not isinstance(mended, dict):
        return None
    return JsonValue(mended, ("JSON syntax",))


def _tidied(text: str) -> str:
    """Return the text without comments, trailing commas and Python's literals."""
    return _TRAILING_COMMA.sub(
        _tidied_token, _COMMENT_OR_LITERAL.sub(_tidied_token, text)
    )


def _tidied_token(token: re.Match[str]) -> str:
    # A string begins at a quotation mark, and stays as it is. Comments and commas go.
    if token[0].startswith('"'):
        return token[0]
    return _JSON_LITERALS.get(token[0], "")


def _load(text: str) -> JsonValue | None:
    try:
        return JsonValue(json.loads(text))
    except (ValueError, RecursionError):
        pass
    # Models often write bare line breaks inside of strings.
    try:
        return JsonValue(json.loads(text, strict=False), (CONTROL_CHARACTERS,))
    except (ValueError, RecursionError):
        return None


def _spans(text: str, start: int) -> list[_Span]:
    """Return the outermost closed objects of the text from `start`, in order.

    Raises:
        NoJson: the last object is not closed.
    """
    spans: list[_Span] = []
    unclosed: list[int] = []
    position = start
    while token := _STRUCTURE.search(text, position):
        position = token.end()
        if token[0] == "{":
            unclosed.append(token.start())
        elif not unclosed:
            # A quotation mark or a brace in prose.
            continue
        elif token[0] == '"':
            position = _string_end(text, position)
        else:
            span = _Span(unclosed.pop(), position)
            while spans and spans[-1].start > span.start:
                spans.pop()
            spans.append(span)
    spans = [span for span in spans if _OBJECT_START.match(text, span.start)]
    for brace in unclosed:
        if _OBJECT_START.match(text, brace):
            before = [span for span in spans if span.end <= brace]
            return [*before, _misquoted_object(text, brace)]
    return spans


def _string_end(text: str, position: int) -> int:
    for token in _STRING_END.finditer(text, position):
        if token[0] == '"':
            return token.end()
    return len(text)


def _misquoted_object(text: str, start: int) -> _Span:
    """Return the object from `start` to the end of the text, although its quotation marks mislead.

    Raises:
        NoJson: the object was cut.
    """
    body = text[start:]
    end = body.rfind("}") + 1
    body, trailing = body[:end], body[end:]
    is_balanced = body.count("{") == body.count("}") and (
        body.count("[") == body.count("]")
    )
    # The last characters are enough: a pattern that ends at the end is tried at every position.
    pattern = _ESCAPED_END if _ESCAPED_START.match(body) else _OBJECT_END
    is_whole = is_balanced and pattern.search(body[-_MOST_TRAILING_CHARS:])
    if not is_whole or not _is_blank(trailing[: _MOST_TRAILING_CHARS + 1]):
        beginning = text[start : start + 40]
        raise NoJson(f"not JSON: the object that begins {beginning!r} is never closed")
    return _Span(start, start + end)


def _mends_around(reasoned: ReasonedText, span: _Span) -> Iterator[str]:
    """Tell what stands around an object."""
    before, after = reasoned.text[: span.start], reasoned.text[span.end :]
    has_reasoning = False
    if reasoned.closings and not span.covers(reasoned.closings[-1]):
        has_reasoning = True
        before = before[reasoned.end :]
        if span.start < reasoned.end:
            after = ""
    if reasoned.opening and reasoned.opening.end() <= span.start:
        has_reasoning = True
        before = ""
    if has_reasoning:
        yield "reasoning block"
    around = f"{before}\n{after}"
    if _FENCE.search(around):
        yield "fence"
    if CONTROL_TOKEN.search(around):
        yield "control tokens"
    if not _is_blank(around):
        yield "prose around the JSON"


def _is_blank(text: str) -> bool:
    """Return True if there is nothing but white space, fences and control tokens."""
    text = _FENCE.sub("", text)
    return not CONTROL_TOKEN.sub("", text).strip()


def _is_json(text: str) -> bool:
    return _load(text) is not None


def _why_not_json(text: str) -> str:
    reasoned = ReasonedText(text)
    rest = reasoned.rest
    if rest:
        return f"not JSON: {_syntax_error(rest)}"
    if reasoned.opening:
        return "the reasoning never ends"
    if reasoned.closings:
        return "nothing comes after the reasoning"
    return f"not JSON: {_syntax_error(text)}"


def _syntax_error(text: str) -> str:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "no object"
