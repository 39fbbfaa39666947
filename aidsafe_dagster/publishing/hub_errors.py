"""What went wrong at the Hub, in plain words, and whether trying again can help.

No message quotes the client's own error, and no error of the client is kept as a cause: some repeat the request's
headers, and with them the token. What the Hub itself says is quoted, with the token masked if it should be in there.
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
FAULTS = (HTTPError, OSError, RuntimeError, ValueError)
"""What the client and its Xet library raise. A `ValueError` is a card that the Hub refuses, or an answer cut short."""
_QUOTED = 300
_BUSY = (408, 409, 425, 429)
_REFUSALS = {
    401: "no valid token. Set the variable that publish.token_env names, or run hf auth login.",
    403: "the token may not do this. It needs write access to the dataset.",
    404: "there is no such dataset, or the token may not see it.",
}
_STOPS: dict[type[Exception], str] = {
    OfflineModeIsEnabled: "huggingface_hub is in offline mode. Unset HF_HUB_OFFLINE",
    LocalProtocolError: "the token cannot be sent: it holds a line break or another odd character",
    HFValidationError: "not a valid id. Expected '<owner>/<dataset>'",
}


@dataclass(frozen=True)
class HubFailure:
    kind: Literal["again", "moved", "stop"]
    """again: it may pass; moved: somebody committed meanwhile."""
    why: str
    wait_s: float | None = None
    """What the Hub asks us to wait."""


class HubError(Exception):
    """A call to the Hub failed; holds nothing of the client's error."""

    def __init__(self, trouble: HubFailure) -> None:
        super().__init__(trouble.why)
        self.trouble = trouble


@dataclass(frozen=True)
class HubClient:
    """Calls the Hub for one repository, with patience."""

    repo: str
    token: str | None
    settings: PublishSettings
    log: Callable[[str], None]

    def once(self, call: Callable[[], T]) -> T:
        """The result of one try.

        Raises:
            HubError: it failed.
        """
        trouble: HubFailure
        try:
            return call()
        except FAULTS as error:
            trouble = diagnosed(error, self.token)
        raise HubError(
            trouble
        )  # outside of the handler, so that the client's error is not its context

    def patiently(self, what: str, call: Callable[[], T]) -> T:
        """The result, once a try succeeds.

        Raises:
            SetupError: trying again does not help, or did not within the attempts of the settings.
        """
        return retry(
            lambda: self.once(call),
            HubError,
            lambda failed, tried: self.wait_before_retry(what, failed.trouble, tried),
        )

    def wait_before_retry(self, what: str, trouble: HubFailure, tried: int) -> float:
        """Seconds to wait before the next try.

        Raises:
            SetupError: there is to be none.
        """
        if trouble.kind != "again":
            raise self.error(what, trouble.why)
        if tried >= self.settings.attempts:
            raise self.error(
                what, f"{trouble.why}; gave up after {tried} tries. Nothing is lost: publish again"
            )
        seconds = trouble.wait_s
        if seconds is None:
            seconds = exponential_backoff(tried, self.settings.wait_s, self.settings.max_wait_s)
        if seconds > self.settings.max_wait_s:
            raise self.error(
                what, f"{trouble.why}; it asks to wait {seconds:.0f} s. Publish again then"
            )
        self.log(
            f"{self.repo}: {what}: {trouble.why}; try {tried + 1} of {self.settings.attempts} in {seconds:.1f} s"
        )
        return seconds

    def error(self, what: str, why: str) -> SetupError:
        return SetupError(f"Hub dataset '{self.repo}': {what}: {why}")


def diagnosed(error: Exception, token: str | None) -> HubFailure:
    """What an error of the client means."""
    if isinstance(error, HfHubHTTPError):
        return _answered(error, token)
    for kind, why in _STOPS.items():
        if isinstance(error, kind):
            return HubFailure("stop", why)
    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError):
        return HubFailure("stop", f"the Hub refuses it: {_masked(str(error), token)}")
    if type(error).__name__ == "XetAuthenticationError":
        return HubFailure("stop", f"the upload was refused. {_REFUSALS[403]}")
    return HubFailure("again", f"the connection broke off ({type(error).__name__})")


def _answered(error: HfHubHTTPError, token: str | None) -> HubFailure:
    status = error.response.status_code
    said = _masked(error.server_message or "", token)
    if status in _BUSY or status >= 500:
        why = (
            "the Hub limits the rate" if status == 429 else f"the Hub is in trouble (HTTP {status})"
        )
        return HubFailure("again", why, _retry_after(error))
    if status == 412:
        return HubFailure("moved", "somebody committed meanwhile")
    if status == 400 and "does not exist" in said:
        return HubFailure("again", "a file did not arrive whole")
    return HubFailure(
        "stop",
        f"the Hub refuses it (HTTP {status}): {_REFUSALS.get(status, '')} {said}".rstrip(": "),
    )


def _retry_after(error: HfHubHTTPError) -> float | None:
    """Seconds that the Hub asks to wait; a date is not understood."""
    value = error.response.headers.get("retry-after", "").strip()
    return float(value) if value.isdigit() else None


def _masked(text: str, token: str | None) -> str:
    return mask_secret(" ".join(text.split()), token)[:_QUOTED]
