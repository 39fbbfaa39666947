"""What a busy server says of its limits: how long to wait, and what it allows a minute.

Servers say it in headers of their own and in prose. Sources: RFC 9110 (`Retry-After`), the rate
limit pages of OpenAI, Anthropic, Groq, OpenRouter, Azure and Google (`RetryInfo`). A time of day is
read against the server's own clock, the `Date` of its reply: that of this machine may be set.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from aidsafe_dagster.engines.protocol import RateLimits

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT = (
    r"milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d"
)
_DURATION = rf"(?:\d+(?:\.\d+)?\s*(?:{_UNIT})(?![a-ln-z])\s*)+"
_IN_PROSE = re.compile(
    rf"\b(?:again|retry|retrying|wait)\b\W*(?:\w+\W+){{0,3}}?({_DURATION})",
    re.IGNORECASE,
)
_IN_FIELD = re.compile(
    r'"retry_?(?:delay|after)(?:_s|_seconds)?"\s*:\s*"?(\d+(?:\.\d+)?)\s*(ms|s)?\b',
    re.IGNORECASE,
)
_IN_LIMIT = re.compile(r"\((RPM|TPM)\)[^.]{0,20}?limit:?\s*(\d[\d,]*)", re.IGNORECASE)
_EPOCH_S = 1e9
"""A larger number is a time of day and not a number of seconds."""
_EPOCH_MS = 1e12
_MAX_TEXT = 20_000
_REQUEST_LIMITS = (
    "x-ratelimit-limit-requests",
    "anthropic-ratelimit-requests-limit",
)
_TOKEN_LIMITS = (
    "x-ratelimit-limit-tokens",
    "anthropic-ratelimit-tokens-limit",
)
_RESETS = (
    # header of the reset, header of what remains until then
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
)


def wait_s(headers: Mapping[str, str], text: str) -> float | None:
    """Return how long a reply asks to wait, in seconds. None: it does not say.

    Args:
        headers: of the reply, whose names are looked up whatever their case.
        text: the body.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    seconds = _wait_of(headers.get("Retry-After"), headers)
    if seconds is not None:
        return seconds
    seconds = _wait_in(text[:_MAX_TEXT])
    if seconds is not None:
        return seconds
    return _wait_until_reset(headers)


def limits_of(headers: Mapping[str, str], text: str) -> RateLimits | None:
    """Return the limits that a reply names. None: it names none."""
    requests = _first_number(headers, _REQUEST_LIMITS)
    tokens = _first_number(headers, _TOKEN_LIMITS)
    for unit, number in _IN_LIMIT.findall(text[:_MAX_TEXT]):
        value = float(number.replace(",", ""))
        if unit.upper() == "RPM":
            requests = value
        else:
            tokens = value
    if not requests and not tokens:
        return None
    return RateLimits(requests or None, tokens or None)


def _wait_until_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until what is used up is free again."""
    waits = []
    for reset, remaining in _RESETS:
        seconds = _wait_of(headers.get(reset), headers)
        # A server tells the reset of limits that are not reached as well.
        if seconds is not None and not _number(headers.get(remaining)):
            waits.append(seconds)
    return max(waits, default=None)


def _wait_of(value: str | None, headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a header: a number, a duration, or a time of day in any form."""
    if value is None:
        return None
    value = value.strip()
    number = _number(value)
    if number is not None:
        return _until(number, headers)
    seconds = _duration_s(value)
    if seconds is not None:
        return seconds
    return _until_date(value, headers)


def _wait_in(text: str) -> float | None:
    """Return the seconds that a body names: "try again in 1.5s", `"retryDelay": "34s"`."""
    field = _IN_FIELD.search(text)
    if field:
        number, unit = field.groups()
        return float(number) * _UNIT_S[(unit or "s").lower()]
    prose = _IN_PROSE.search(text)
    return _duration_s(prose.group(1)) if prose else None


def _duration_s(text: str) -> float | None:
    """Return the seconds of a duration such as '6m0s', '20ms' or '2 minutes'."""
    text = text.strip()
    if not re.fullmatch(_DURATION, text, re.IGNORECASE):
        return None
    seconds = 0.0
    # A space apart, so that no unit runs into the next number.
    for number, unit in re.findall(rf"(\d+(?:\.\d+)?)\s*({_UNIT})", text.lower()):
        name = "ms" if unit.startswith(("ms", "milli")) else unit[0]
        seconds += float(number) * _UNIT_S[name]
    return seconds


def _until(number: float, headers: Mapping[str, str]) -> float:
    """Return a number of seconds, or the seconds until a time since 1970 in seconds or ms."""
    if number < _EPOCH_S:
        return number
    moment = number / 1000 if number >= _EPOCH_MS else number
    return max(0.0, moment - _time_at_server(headers).timestamp())


def _until_date(value: str, headers: Mapping[str, str]) -> float | None:
    moment = _moment(value)
    if moment is None:
        return None
    return max(0.0, (moment - _time_at_server(headers)).total_seconds())


def _time_at_server(headers: Mapping[str, str]) -> datetime:
    """Return when the server wrote a reply; where it does not say, the time here."""
    return _moment(headers.get("Date", "")) or datetime.now(UTC)


def _moment(value: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _first_number(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        number = _number(headers.get(name))
        if number:
            return number
    return None


def _number(text: str | None) -> float | None:
    """Return a finite number of 0 or more. None: the text is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
