"""Errors of the Hub in plain words, and whether a retry can help.

Some errors of the client repeat the request's headers, and with them the token. No message quotes
such an error, and none is kept as a cause. What the Hub itself says is quoted, with the token
masked.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from httpx2 import HTTPError, LocalProtocolError
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
)

from aidsafe_dagster.primitives.retry import exponential_backoff, retry
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_secret

T = TypeVar("T")
CLIENT_ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
"""What the client and its Xet library raise.

A `ValueError` is a card that the Hub refuses, or a truncated answer.
"""
_MAX_QUOTE = 300
# Timeout, conflict, too early, rate limit: worth a retry, like every 5xx.
_BUSY = (408, 409, 425, 429)
_REFUSALS = {
    401: "no valid token. Set the variable that publish.token_env names, or run hf auth login.",
    403: "the token lacks permission. It needs write access to the dataset.",
    404: "there is no such dataset, or the token may not see it.",
}
_PERMANENT: dict[type[Exception], str] = {
    OfflineModeIsEnabled: "huggingface_hub is in offline mode. Unset HF_HUB_OFFLINE",
    LocalProtocolError: "the token cannot be sent: it holds a line break or another odd character",
    HFValidationError: "not a valid id. Expected '<owner>/<dataset>'",
}


@dataclass(frozen=True)
class HubFailure:
    kind: Literal["again", "moved", "stop"]
    """again: a retry may succeed; moved: somebody else committed; stop: a retry cannot help."""
    why: str
    wait_s: float | None = None
    """Seconds that the Hub asks us to wait."""


class HubError(Exception):
    """A call to the Hub failed. Holds nothing of the client's error."""

    def __init__(self, failure: HubFailure) -> None:
        super().__init__(failure.why)
        self.failure = failure


@dataclass(frozen=True)
class HubClient:
    """Calls the Hub about one repository, with retries and exponential backoff."""

    repo: str
    token: str | None
    settings: PublishSettings
    log: Callable[[str], None]

    def try_once(self, call: Callable[[], T]) -> T:
        """Return the result of a single attempt.

        Raises:
            HubError: it failed.
        """
        failure: HubFailure
        try:
            return call()
        except CLIENT_ERRORS as error:
            failure = diagnose(error, self.token)
        # Raised outside of the handler: the client's error may hold the token, and would become
        # the context of ours.
        raise HubError(failure)

    def call(self, step: str, call: Callable[[], T]) -> T:
        """Return the result of the first attempt that succeeds.

        Raises:
            SetupError: a retry cannot help, or the attempts of the settings are used up.
        """
        return retry(
            lambda: self.try_once(call),
            HubError,
            lambda error, failed_attempts: self.wait_before_retry(
                step, error.failure, failed_attempts
            ),
        )

    def wait_before_retry(
        self, step: str, failure: HubFailure, failed_attempts: int
    ) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            SetupError: there must be no further attempt.
        """
        settings = self.settings
        if failure.kind != "again":
            raise self.error(step, failure.why)
        if failed_attempts >= settings.attempts:
            raise self.error(
                step,
                f"{failure.why}; gave up after {failed_attempts} tries. "
                "Nothing is lost: publish again",
            )
        seconds = failure.wait_s
        if seconds is None:
            seconds = exponential_backoff(
                failed_attempts, settings.wait_s, settings.max_wait_s
            )
        # Only the Hub can ask for more than the maximum: the backoff is capped by it.
        if seconds > settings.max_wait_s:
            raise self.error(
                step,
                f"{failure.why} and asks to wait {seconds:.0f} s. Publish again after that",
            )
        next_attempt = f"try {failed_attempts + 1} of {settings.attempts}"
        plan = f"{next_attempt} in {seconds:.1f} s"
        self.log(f"{self.repo}: {step}: {failure.why}; {plan}")
        return seconds

    def error(self, step: str, why: str) -> SetupError:
        return SetupError(f"Hub dataset '{self.repo}': {step}: {why}")


def diagnose(error: Exception, token: str | None) -> HubFailure:
    """Classify an error of the client."""
    if isinstance(error, HfHubHTTPError):
        return _diagnose_status(error, token)
    for kind, why in _PERMANENT.items():
        if isinstance(error, kind):
            return HubFailure("stop", why)
    # A JSONDecodeError is a truncated answer, which a retry can mend.
    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError):
        return HubFailure("stop", f"the Hub refuses it: {_mask(str(error), token)}")
    # hf_xet raises a class of its own for this, and exports it under no public name.
    if type(error).__name__ == "XetAuthenticationError":
        return HubFailure("stop", f"the Hub refuses the upload: {_REFUSALS[403]}")
    return HubFailure("again", f"the connection broke off ({type(error).__name__})")


def _diagnose_status(error: HfHubHTTPError, token: str | None) -> HubFailure:
    status = error.response.status_code
    message = _mask(error.server_message or "", token)
    if status in _BUSY or status >= 500:
        why = f"the Hub is in trouble (HTTP {status})"
        if status == 429:
            why = "the Hub limits the rate"
        return HubFailure("again", why, _retry_after(error))
    if status == 412:
        return HubFailure("moved", "somebody else committed in the meantime")
    # The Hub answers this to a commit that names an upload it does not have.
    if status == 400 and "does not exist" in message:
        return HubFailure("again", "a file did not arrive whole")
    advice = _REFUSALS.get(status, "")
    why = f"the Hub refuses it (HTTP {status}): {advice} {message}"
    return HubFailure("stop", why.rstrip(": "))


def _retry_after(error: HfHubHTTPError) -> float | None:
    """Return the seconds that the Hub asks to wait; None for a date, which we do not parse."""
    value = error.response.headers.get("retry-after", "").strip()
    return float(value) if value.isdigit() else None


def _mask(text: str, token: str | None) -> str:
    line = " ".join(text.split())
    # Masked before it is cut: half a token would not be recognised.
    return mask_secret(line, token)[:_MAX_QUOTE]
