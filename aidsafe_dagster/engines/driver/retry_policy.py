"""How often a failed call is retried, and after which backoff."""

import random

from aidsafe_dagster.engines.driver.calls import Call
from aidsafe_dagster.engines.driver.circuit_breaker import CircuitBreaker
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.protocol import ErrorKind, RetryableError

_RATE_LIMITED_FACTOR = 4
"""An overloaded server needs longer to recover than a call that failed by itself."""
_MAX_DOUBLINGS = 30
"""Keeps the power of two finite. `max_backoff_s` cuts the wait long before."""
_MOST_JITTER_S = 5.0
"""On top of what a server asked for, which may be hours."""


class RetryPolicy:
    """Each call has a retry budget of `max_attempts`.

    Neither outages nor a server that is too busy use it up.
    """

    def __init__(self, settings: DriverSettings) -> None:
        self._settings = settings

    def is_exhausted(self, call: Call, breaker: CircuitBreaker) -> bool:
        """Return whether the call failed too often while the server answered others.

        Whether an outage explains the latest failure may not be known yet, so that one counts
        either way.
        """
        budget = self._settings.max_attempts
        if len(call.failed_at) < budget:
            return False
        faults = sum(breaker.is_fault_of_call(started) for started in call.failed_at)
        # One less than the budget, for the latest failure.
        return faults >= max(1, budget - 1)

    def is_last_attempt(self, call: Call) -> bool:
        return len(call.failed_at) >= self._settings.max_attempts

    def backoff_s(self, call: Call, error: RetryableError) -> float:
        """Return the seconds to wait before the next attempt.

        The wait has jitter, so that calls that failed together do not come back together.
        """
        failures = len(call.failed_at)
        first_s = self._settings.backoff_s
        if error.kind is ErrorKind.RATE_LIMITED:
            failures = call.busy
            first_s = _RATE_LIMITED_FACTOR * first_s
        doubled = 2.0 ** min(failures - 1, _MAX_DOUBLINGS)
        backoff = min(first_s * doubled, self._settings.max_backoff_s)
        if error.retry_after_s is None:
            return backoff * random.uniform(0.5, 1.0)  # noqa: S311
        # A server that keeps asking for the same short wait gets the growing backoff instead.
        wait = error.retry_after_s
        if failures > 1:
            wait = max(wait, backoff)
        # Never earlier than the server asked for.
        jitter = min(0.2 * wait, _MOST_JITTER_S)
        return wait + random.uniform(0.0, jitter)  # noqa: S311
