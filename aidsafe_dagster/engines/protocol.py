"""What an engine is: something that completes one request, once.

An engine makes one attempt and says what went wrong; when to try again, and how often, is the driver's business
(`driver.py`), so that every engine is retried in the same way and a call that waits holds no slot.
"""

from enum import StrEnum
from typing import Protocol

from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import Role


class Engine(Protocol):
    name: str
    simulated: bool
    """True when the answers are made up by rule and not by a model; stamped on every row."""

    @property
    def slots(self) -> int:
        """Calls that it can work on at a time."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs that it holds; 0 if it is not known to hold any."""
        ...

    def metrics_url(self) -> str | None:
        """Where its server tells its load, if it does and is known yet."""
        ...

    def model_for(self, role: Role) -> str:
        """The model that answers a role; part of the journal's key."""
        ...

    async def complete(self, request: Request, attempt: int) -> Completion:
        """One attempt (0, 1, …) at a request.

        Raises:
            RetryableError: a later attempt may succeed.
            RequestRejected: no attempt at this request can succeed; other requests may.
            SetupError: no request can succeed (wrong key, no such model); the run stops.
        """
        ...

    async def close(self) -> None: ...


class ErrorKind(StrEnum):
    """What a failed attempt says of the server."""

    ANSWER = "answer"  # it is there; what it answered is of no use
    BUSY = "busy"  # it is there, and takes no more for now
    AWAY = "away"  # nothing says that it is there: no connection, no answer in time, a 5xx


class RetryableError(Exception):
    """The attempt failed in a way that may pass: overload, a broken connection, a cut or empty answer."""

    def __init__(
        self, detail: str, after_s: float | None = None, trouble: ErrorKind = ErrorKind.ANSWER
    ) -> None:
        super().__init__(detail)
        self.after_s = after_s
        """What the server asked to wait, if it did."""
        self.trouble = trouble


class RequestRejected(Exception):
    """The server will never take this request: too long for the model, for example."""
