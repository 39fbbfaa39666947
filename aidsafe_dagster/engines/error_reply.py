"""What a model server says when it refuses: status, words, codes and the parameter it names.

Servers wrap their errors in a dozen ways, and gateways wrap those again. Reading them is apart from
what they mean (`reply_errors.py`), so that neither depends on the form of one server.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.recipe.foreign_text import storable

_MAX_WORDS = 300
"""Characters of a server's message that are shown."""
_MAX_TEXT = 4000
"""Characters of a server's message that are looked at."""
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_HTML = re.compile(r"^\s*(<\?xml|<!doctype html|<html|<head|<!--)", re.IGNORECASE)
_MESSAGE_FIELDS = (
    "message",
    "msg",
    "detail",
    "error",
    "errors",
    "error_msg",
    "reason",
    "title",
)
_CODE_FIELDS = ("code", "type", "status", "reason", "error_code", "__type")
_INNER_FIELDS = ("innererror", "inner_error", "details", "metadata")
_STATUSES = range(300, 600)
_STATUS_OF_CODE = (
    ("invalid_api_key", 401),
    ("authentication", 401),
    ("unauthenticated", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid_", 400),
    ("content_", 400),
    ("bad_request", 400),
    ("unavailable", 503),
    ("internal", 500),
    ("server_error", 500),
)
"""Part of a code in words → the HTTP status that usually comes with it."""


@dataclass(frozen=True)
class ErrorReply:
    """An error in a server's own terms."""

    http_status: int
    status: int
    """The status that counts: the HTTP status, or the one in a body under HTTP 200."""
    words: str
    """The server's message, cut to what a person reads."""
    text: str
    """Message and codes in small letters, to look for words in."""
    codes: str
    """The codes and types alone, in small letters."""
    param: str
    """The parameter that the reply is about, if it names one."""

    @property
    def detail(self) -> str:
        """The message with its status, for a person."""
        if self.http_status != 200:
            return f"HTTP {self.http_status}: {self.words}"
        status = "" if self.status == 200 else f" {self.status}"
        return f"HTTP 200 with error{status}: {self.words}"


def read_error(http_status: int, body: Any, mask: Any = str) -> ErrorReply:
    """Return the error in a reply.

    Args:
        http_status: of the reply.
        body: the parsed JSON, or the text of a body that is none.
        mask: hides the key in a text.
    """
    if isinstance(body, str):
        message, codes, param = _text_message(body), list[str](), ""
    else:
        message = _message(body) or json.dumps(body)
        codes = list(_codes(body))
        param = _param(body)
    # Mask before cutting: a key that is cut in two is not recognized.
    message = storable(mask(message))
    code_text = " ".join(codes).lower()
    return ErrorReply(
        http_status=http_status,
        status=_status(http_status, codes),
        words=_one_line(message)[:_MAX_WORDS],
        text=f"{code_text} {message[:_MAX_TEXT].lower()}",
        codes=code_text,
        param=param,
    )


def error_in(reply: Any) -> Any:
    """Return the error under HTTP 200: of the reply, or of its first choice. None without one."""
    if isinstance(reply, list):
        # Google wraps its errors in a list.
        reply = reply[0] if reply else None
    if not isinstance(reply, dict):
        return None
    choices = reply.get("choices")
    if isinstance(choices, list) and choices:
        first = choices[0]
        return first.get("error") if isinstance(first, dict) else None
    if reply.get("error") or reply.get("errors"):
        return reply
    is_error = reply.get("object") == "error" or reply.get("type") == "error"
    has_message = not reply.keys().isdisjoint(("detail", "message", "msg", "error_msg"))
    has_code = not reply.keys().isdisjoint(("detail", "code", "error_code"))
    return reply if is_error or (has_message and has_code) else None


def is_html(text: str) -> bool:
    return _HTML.match(text) is not None


def html_title(text: str) -> str:
    """Return the title of a page; empty without one."""
    title = _TITLE.search(text[:_MAX_TEXT])
    return _one_line(title.group(1))[:80] if title else ""


def _text_message(text: str) -> str:
    if is_html(text):
        title = html_title(text)
        return f"an HTML page, '{title}'" if title else "an HTML page"
    return text


def _message(body: Any, depth: int = 0) -> str:
    """Return the words of an error body, from the outermost field that holds any."""
    if isinstance(body, str):
        return body
    if depth > 4:
        return ""
    if isinstance(body, list):
        messages = [_message(item, depth + 1) for item in body[:5]]
        return "; ".join(filter(None, messages))
    if not isinstance(body, dict):
        return ""
    message = ""
    for field in _MESSAGE_FIELDS:
        message = _message(body.get(field), depth + 1)
        if message:
            break
    # FastAPI tells the place apart from the message.
    if "loc" in body:
        message = f"{_place(body['loc'])}: {message}"
    # OpenRouter puts what the provider said beside a message of its own.
    metadata = body.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"{message}: {raw}" if isinstance(raw, str) and raw else message


def _codes(body: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(body, list):
        for item in body[:5]:
            yield from _codes(item, depth + 1)
    if not isinstance(body, dict) or depth > 4:
        return
    for field in _CODE_FIELDS:
        value = body.get(field)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int | str) and not isinstance(value, bool):
            yield str(value)[:100]
    for field in ("error", "errors", "detail", *_INNER_FIELDS):
        yield from _codes(body.get(field), depth + 1)


def _param(body: Any) -> str:
    if isinstance(body, list):
        return _param(body[0]) if body else ""
    if not isinstance(body, dict):
        return ""
    if isinstance(body.get("param"), str):
        return str(body["param"])[:100]
    if "loc" in body:
        return _place(body["loc"])
    return _param(body.get("error")) or _param(body.get("detail"))


def _place(loc: Any) -> str:
    """Return where in the body an error is: ['body', 'seed'] is 'seed'."""
    if not isinstance(loc, list):
        return str(loc)[:100]
    names = [str(part) for part in loc[:6]]
    if names[:1] == ["body"]:
        names = names[1:]
    return ".".join(names)[:100]


def _status(http_status: int, codes: list[str]) -> int:
    """Return the status that counts: a body may say more precisely what its HTTP status hides."""
    for code in codes:
        if code.isdecimal() and len(code) == 3 and int(code) in _STATUSES:
            status = int(code)
            # A gateway may pass "too many requests" on under a status of its own.
            if http_status == 200 or status in (402, 429, 529):
                return status
    if http_status != 200:
        return http_status
    words = " ".join(codes).lower().replace(" ", "_").replace("-", "_")
    for part, status in _STATUS_OF_CODE:
        if part in words:
            return status
    return http_status


def _one_line(text: str) -> str:
    return " ".join(text.split())
