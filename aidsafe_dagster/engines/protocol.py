"""The engine protocol: something that completes one request, once.

An engine makes one attempt and says what went wrong. When and how often to retry is the driver's
business (`engines/driver`), so every engine is retried in the same way, and a call that backs off
holds no slot.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from aidsafe_dagster.engines.prices import cost_of
from aidsafe_dagster.engines.settings import Prices
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import FailureReason, Usage


@dataclass(frozen=True)
class Route:
    """Where the requests of one speaker go, and what of that bears on the answers."""

    server: str
    """Name of the server. Servers of one name share slots and rate limits."""
    model: str
    """With its revision. Part of the journal's key."""
    slots: int
    """Calls that the server can work on at a time."""
    options: str = ""
    """Canonical JSON of everything else that changes an answer (output mode, extra fields,
    reasoning, adapter …). Part of the journal's key. Empty: nothing of that is set."""
    profile: str = ""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    prices: Prices = Prices()
    address: str = ""
    """URL of the server, for messages. Empty where nothing is sent over a network."""

    @property
    def label(self) -> str:
        """The server's name, with its profile where it has one."""
        return f"{self.server} ({self.profile})" if self.profile else self.server

    def cost(self, usage: Usage) -> float:
        """Return what a completion costs at the server's prices."""
        return cost_of(usage, self.prices)


class Engine(Protocol):
    """Completes requests with a model."""

    name: str
    simulated: bool
    """True when answers are made up by rule and not by a model. Stamped on every row."""

    @property
    def slots(self) -> int:
        """Calls that it can work on at a time, over all its servers."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs that it holds; 0 if it is not known to hold any."""
        ...

    def metrics_url(self) -> str | None:
        """Return where its server publishes its load. None if it does not, or not yet."""
        ...

    def route(self, speaker: str) -> Route:
        """Return where the requests of a role or an agent go (`Request.speaker`)."""
        ...

    async def complete(self, request: Request, attempt: int) -> Completion:
        """Make one attempt (0, 1, …) at a request.

        Raises:
            RetryableError: a later attempt may succeed.
            RequestRejected: no attempt at this request can succeed; other requests may.
            SetupError: no request can succeed (wrong key, no such model, no credit left, a
                parameter that the server refuses). The run stops.
        """
        ...

    async def close(self) -> None:
        """Release the connections to the server."""
        ...


class ErrorKind(StrEnum):
    """What a failed attempt says about the server."""

    BAD_ANSWER = "bad_answer"
    """It is up, and its answer is of no use."""
    RATE_LIMITED = "rate_limited"
    """It is up, and takes no more calls for now."""
    REFUSED = "refused"
    """It is up, and refuses a caller whom it has answered before: a key, a path or a model that it
    does not know for the moment."""
    UNAVAILABLE = "unavailable"
    """No connection, no answer in time, or a 5xx."""


@dataclass(frozen=True)
class RateLimits:
    """What a server says it allows. None: it does not say."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class RetryableError(Exception):
    """An attempt failed in a way that may pass: overload, a lost connection, a cut or empty answer.

    Args:
        detail: what went wrong.
        retry_after_s: how long the server asked to wait, if it did.
        kind: what the failure says about the server.
        limits: the rate limits that the server named in its reply, if it did.
    """

    def __init__(
        self,
        detail: str,
        retry_after_s: float | None = None,
        kind: ErrorKind = ErrorKind.BAD_ANSWER,
        limits: RateLimits | None = None,
    ) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.kind = kind
        self.limits = limits


class RequestRejected(Exception):
    """The server will never answer this request: it is too long for the model, for example.

    Args:
        detail: what went wrong, in the server's words.
        reason: why the row fails.
    """

    def __init__(
        self,
        detail: str,
        reason: FailureReason = FailureReason.REJECTED_BY_ENGINE,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
