"""What a reply that is no completion means: wait, fail this row, or stop the run.

The words decide as much as the status does: 403 is a wrong key at one server and a flagged prompt
at another, and 429 is a busy server or an account without money. What no row could survive stops
the run, in the server's words and with what to set. But a server that has answered already is set
up well enough, so then a refusal is the one row's: of a caller, a model or a path after some
attempts, since gateways say so for a moment; of a parameter at once. Whether it refuses everything
from then on is for the driver to see (`driver/refusals.py`).

Wordings are those of OpenAI, Azure, Anthropic, Google, Mistral, Groq, DeepSeek, OpenRouter,
LiteLLM, vLLM, llama.cpp, Ollama and LM Studio.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from aidsafe_dagster.engines.error_reply import ErrorReply
from aidsafe_dagster.engines.protocol import (
    ErrorKind,
    RateLimits,
    RequestRejected,
    RetryableError,
)
from aidsafe_dagster.engines.remedies import (
    Sent,
    is_system_role_refused,
    refused_field,
    remedy,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import FailureReason

_MAX_SERVED = 20
"""Names of served models that a message lists."""


class Fault(StrEnum):
    """What kind of thing went wrong."""

    BUSY = "busy"
    NO_CREDIT = "no credit"
    WRONG_KEY = "wrong key"
    UNKNOWN_MODEL = "unknown model"
    WRONG_PATH = "wrong path"
    PARAMETER = "parameter"
    MODERATED = "moderated"
    TOO_LONG = "too long"
    TRANSIENT = "transient"
    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"


SET_UP_FAULTS = frozenset(
    {Fault.WRONG_KEY, Fault.UNKNOWN_MODEL, Fault.WRONG_PATH, Fault.PARAMETER}
)
"""Faults that no row survives, unless the server has answered others."""

_NO_CREDIT_CODE = re.compile(
    r"insufficient_quota|insufficient_(funds|balance|credits?)|billing_(hard_limit|not_active)"
    r"|quota_exhausted|payment_required|arrearage|credits?_exhausted"
)
_NO_CREDIT = re.compile(
    r"credit balance is too low|exceeded your current quota|quota (is |has been )?exhausted"
    r"|insufficient (credit|balance|quota|funds)|out of credit|no credits? (left|remaining)"
    r"|billing (hard )?limit|account is not active|overdue payment|payment required"
    r"|add more credit|check your plan and billing"
)
_BUSY_CODE = re.compile(
    r"rate_?limit|overloaded|too_?many_?requests|throttl|resource_?exhausted|server_?busy"
)
_BUSY = re.compile(
    r"overloaded|too many requests|rate.?limit|throttl|server (is )?busy|at capacity"
    r"|no (available )?capacity|queue is full|slow down"
)
_TOO_LONG = re.compile(
    r"context.?length|context.?window|context.?size|maximum context|context_exceeded"
    r"|prompt is too long|(input|prompt|request|message)s? (is |are )?too (long|large)"
    r"|too many (input |prompt )?tokens|max_model_len|maximum (model|prompt|input) length"
    r"|input (token count|length).{0,60}exceed|reduce the length|n_ctx\b"
    r"|exceeds? .{0,40}(token limit|number of tokens allowed)"
)
_WRONG_KEY = re.compile(
    r"(api.?key|access.?token|auth\w*.?token|credential).{0,20}"
    r"(not valid|invalid|incorrect|missing|expired|revoked)"
    r"|(invalid|incorrect|missing|no|wrong).{0,12}(api.?key|credential)"
    r"|api_key_invalid|authentication_error|unauthenticated|unauthorized"
    # LiteLLM's proxy without a database, to any key but its own.
    r"|no connected db"
)
_MODERATED = re.compile(
    r"moderation|flagged|content.?(policy|management|filter|violation)|responsibleai"
    r"|\bsafety\b|prohibited.?(content|use)|data_inspection_failed|(usage|use) polic(y|ies)"
    r"|inappropriate content|harmful|sensitive (content|words?)|content_blocked|guardrail"
)
_UNKNOWN_MODEL = re.compile(
    r"model_?not_?found|deploymentnotfound|deployment .{0,60}does not exist"
    r"|invalid_model|(unknown|invalid|no such|no) model\b"
    r"|model\b.{0,120}(not (be )?found|not exist|unknown|not available|not a valid|not loaded"
    r"|no access|not have access|deprecated|decommissioned|not supported by)"
    r"|not have access to (the )?model|not a valid model|no endpoints found"
)
_PARAMETER_CODE = re.compile(
    r"unsupported_(parameter|value)|extra_forbidden|unknown_parameter|unsupportedparams"
    r"|invalid_json_schema|invalid_schema|unrecognized_(parameter|field)"
)
_PARAMETER = re.compile(
    r"unsupported (parameter|value|field|argument|keyword)|unrecognized|unrecognised"
    r"|unknown (field|parameter|argument|name|property|keyword)"
    r"|extra (inputs|fields)|unexpected (keyword|field|argument|parameter|property)"
    r"|additional propert|not (permitted|allowed|supported|available|enabled|implemented)"
    r"|(is|are|isn't|isn’t) (unsupported|unavailable|deprecated)|(not|n't) (support|accept|allow)"
    r"|cannot both be|both be specified|only (one|support)|invalid schema"
)
_BAD_VALUE = re.compile(
    r"too (large|high|big)|valid range|out of range|must be|should be|invalid value"
    r"|less than|greater than|at most|at least|\d > \d|does not match"
)
_CLIENT_TRANSIENT = (408, 409, 425, 499)
_MAY_REFUSE_PARAMETER = (400, 404, 415, 422, 500, 501)
_MAY_BE_TOO_LONG = (400, 413, 422, 500)
_ABOVE_A_MINUTE = re.compile(r"request too large|tokens must be reduced")
_VERSION = re.compile(r"/v\d+[a-z0-9]*(/openai)?$|/openai(/deployments/[^/]+)?$")


@dataclass(frozen=True)
class Asked:
    """What the call was, as far as an error's meaning depends on it."""

    sent: Sent
    key_state: str
    """What to do about the key, such as 'is the key in MY_KEY right?'."""
    may_stop: bool
    """A fault of the set-up stops the run: the server has not answered such a call yet, or has
    refused too many in a row."""

    @property
    def base_url(self) -> str:
        return self.sent.settings.base_url


_RETRIED = {
    Fault.BUSY: ErrorKind.RATE_LIMITED,
    Fault.UNAVAILABLE: ErrorKind.UNAVAILABLE,
    Fault.TRANSIENT: ErrorKind.BAD_ANSWER,
}
_REFUSALS_OF_A_CALLER = (Fault.WRONG_KEY, Fault.UNKNOWN_MODEL, Fault.WRONG_PATH)
"""What a gateway says for a moment of a caller whom it knows well."""
_ROW_REASONS = {
    Fault.MODERATED: FailureReason.MODERATED,
    Fault.TOO_LONG: FailureReason.CONTEXT_OVERFLOW,
}


def fault_of(error: ErrorReply, wait: float | None, sent: Sent) -> Fault:
    """Return what an error means.

    Args:
        error: the server's own terms.
        wait: the seconds that the server asks to wait, if it does.
        sent: what was sent.
    """
    if _is_without_credit(error, wait):
        return Fault.NO_CREDIT
    for fault, applies in _SIGNS:
        if applies(error):
            return fault
    return _fault_by_status(error, sent)


def error_for(
    fault: Fault,
    error: ErrorReply,
    asked: Asked,
    wait: float | None = None,
    limits: RateLimits | None = None,
    served: tuple[str, ...] = (),
) -> Exception:
    """Return the exception to raise: RetryableError, RequestRejected or SetupError.

    `served` are the names of the server's models, if they are known.
    """
    if fault in _RETRIED:
        return RetryableError(error.detail, wait, _RETRIED[fault], limits)
    if fault in _ROW_REASONS:
        return RequestRejected(error.detail, _ROW_REASONS[fault])
    if fault is Fault.REJECTED:
        return RequestRejected(error.detail)
    words = error.detail.rstrip(". ")
    detail = f"{words}; {_advice(fault, error, asked, served)}"
    if fault is Fault.NO_CREDIT or asked.may_stop:
        return SetupError(f"{asked.base_url}: {detail}")
    if fault in _REFUSALS_OF_A_CALLER:
        return RetryableError(detail, wait, ErrorKind.REFUSED)
    return RequestRejected(detail)


def path_advice(base_url: str) -> str:
    """Return what may be wrong with the path of a base URL that the server does not know."""
    url = base_url.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/responses", "/models"):
        if url.endswith(ending):
            return f"base_url should end before {ending}: {url.removesuffix(ending)}"
    if not _VERSION.search(urlsplit(url).path):
        return f"base_url should end with /v1: {url}/v1"
    return "is the path of base_url right?"


def _is_without_credit(error: ErrorReply, wait: float | None) -> bool:
    if error.status == 402 or _NO_CREDIT_CODE.search(error.codes):
        return True
    # Google says "exceeded your current quota" of a minute, too, and then how long to wait.
    may_be = error.status in (400, 403, 429) and wait is None
    return may_be and _NO_CREDIT.search(error.text) is not None


def _is_too_long(error: ErrorReply) -> bool:
    if error.status == 413:
        return True
    # One request above the limit of a minute never gets through.
    if error.status == 429:
        return _ABOVE_A_MINUTE.search(error.text) is not None
    return error.status in _MAY_BE_TOO_LONG and _TOO_LONG.search(error.text) is not None


def _is_busy(error: ErrorReply) -> bool:
    if error.status in (429, 529) or _BUSY_CODE.search(error.codes):
        return True
    return error.status == 503 and _BUSY.search(error.text) is not None


def _is_wrong_key(error: ErrorReply) -> bool:
    if error.status == 401:
        return True
    return error.status in (400, 403) and _WRONG_KEY.search(error.text) is not None


def _is_explicit_parameter(error: ErrorReply) -> bool:
    if error.status not in _MAY_REFUSE_PARAMETER:
        return False
    is_explicit = _PARAMETER_CODE.search(error.codes) is not None
    return is_explicit or is_system_role_refused(error)


def _is_moderated(error: ErrorReply) -> bool:
    if error.status == 451:
        return True
    return error.status in (400, 403, 422) and _MODERATED.search(error.text) is not None


def _is_unknown_model(error: ErrorReply) -> bool:
    may_be = error.status in (400, 403, 404, 422)
    return may_be and _UNKNOWN_MODEL.search(error.text) is not None


_SIGNS: tuple[tuple[Fault, Callable[[ErrorReply], bool]], ...] = (
    (Fault.TOO_LONG, _is_too_long),
    (Fault.BUSY, _is_busy),
    (Fault.WRONG_KEY, _is_wrong_key),
    (Fault.PARAMETER, _is_explicit_parameter),
    (Fault.MODERATED, _is_moderated),
    (Fault.UNKNOWN_MODEL, _is_unknown_model),
)
"""Faults by their words, the more certain ones first."""


def _fault_by_status(error: ErrorReply, sent: Sent) -> Fault:
    """Return what an error means whose words say nothing more certain."""
    status = error.status
    if status == 403:
        return Fault.WRONG_KEY
    if status in (404, 405, 410):
        return Fault.WRONG_PATH
    if status in (400, 422) and _is_about_a_field(error, sent):
        return Fault.PARAMETER
    if status in _CLIENT_TRANSIENT:
        return Fault.TRANSIENT
    if status >= 500:
        return Fault.UNAVAILABLE
    # Under HTTP 200 without a code: nobody knows what it means, so a few attempts are made.
    return Fault.REJECTED if status >= 400 else Fault.TRANSIENT


def _is_about_a_field(error: ErrorReply, sent: Sent) -> bool:
    if _PARAMETER.search(error.text):
        return bool(remedy(error, sent))
    return bool(_BAD_VALUE.search(error.text) and refused_field(error, sent))


def _advice(
    fault: Fault, error: ErrorReply, asked: Asked, served: tuple[str, ...]
) -> str:
    settings = asked.sent.settings
    if fault is Fault.NO_CREDIT:
        return (
            "the account has no credit or quota left; add some, or name another server"
        )
    if fault is Fault.WRONG_KEY:
        return asked.key_state
    if fault is Fault.PARAMETER:
        mend = remedy(error, asked.sent)
        return mend or f"set omit, rename or extra_body in {asked.sent.table}"
    listing = ", ".join(served[:_MAX_SERVED])
    models = f"model is '{settings.model}', served: {listing or 'unknown'}"
    if fault is Fault.UNKNOWN_MODEL:
        return models
    # A server that lists its models at this path has the right one.
    return models if served else path_advice(settings.base_url)
