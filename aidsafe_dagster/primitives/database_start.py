"""A database server that is being started: its clients wait a little before they give up."""

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from aidsafe_dagster.primitives.retry import retry

START_S = 15.0
"""For a server that is restarted. One that is not there at all is reported after as long."""
_POLL_S = 0.5
_STARTING = (
    "connection refused",
    "starting up",
    "shutting down",
    "closed the connection",
    "terminating connection",
)
"""What PostgreSQL and its driver say meanwhile. A wrong password or name is none of it."""
T = TypeVar("T")


def wait_for_start(call: Callable[[], T]) -> T:
    """Return the result of an idempotent call that connects to a server, once that is there.

    Raises:
        sqlalchemy.exc.OperationalError: it is not there after START_S, or refuses for good.
    """
    deadline = time.monotonic() + START_S

    def wait_before(error: sa.exc.OperationalError, _: int) -> float:
        words = str(error.orig).lower()
        is_starting = any(word in words for word in _STARTING)
        if not is_starting or time.monotonic() > deadline:
            raise error
        return _POLL_S

    return retry(call, sa.exc.OperationalError, wait_before)
