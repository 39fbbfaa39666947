"""The engine protocol: something that completes one request, once.

An engine makes one attempt and says what went wrong. When and how often to retry is the driver's
business (`engines/driver`), so every engine is retried in the same way, and a call that backs off
holds no slot.
"""

from enum import StrEnum
from typing import Protocol

from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import Role


class Engine(Protocol):
    """Completes requests with a model."""

    name: str
    simulated: bool
    """True when answers are made up by rule and not by a model. Stamped on every row."""

    @property
    def slots(self) -> int:
        """Calls that it can work on at a time."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs that it holds; 0 if it is not known to hold any."""
        ...

    def metrics_url(self) -> str | None:
        """Return where its server publishes its load. None if it does not, or not yet."""
        ...

    def model_for(self, role: Role) -> str:
        """Return the model that answers a role. It is part of the journal's key."""
        ...

    async def complete(self, request: Request, attempt: int) -> Completion:
        """Make one attempt (0, 1, …) at a request.

        Raises:
            RetryableError: a later attempt may succeed.
            RequestRejected: no attempt at this request can succeed; other requests may.
            SetupError: no request can succeed (wrong key, no such model). The run stops.
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
    UNAVAILABLE = "unavailable"
    """No connection, no answer in time, or a 5xx."""


class RetryableError(Exception):
    """An attempt failed in a way that may pass: overload, a lost connection, a cut or empty answer.

    Args:
        detail: what went wrong.
        retry_after_s: how long the server asked to wait, if it did.
        kind: what the failure says about the server.
    """

    def __init__(
        self,
        detail: str,
        retry_after_s: float | None = None,
        kind: ErrorKind = ErrorKind.BAD_ANSWER,
    ) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.kind = kind


class RequestRejected(Exception):
    """The server will never accept this request: it is too long for the model, for example."""
