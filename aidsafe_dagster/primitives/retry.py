"""Synchronous retries: call again after a wait, until it succeeds or there is reason to give up.

Calls to a model are retried by the driver, which is asynchronous and has a retry budget per row
(`engines/driver/retry_policy.py`).
"""

import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


def retry(
    call: Callable[[], T], error_type: type[E], wait_before: Callable[[E, int], float]
) -> T:
    """Return the result of the first call that succeeds.

    Args:
        call: may run many times, so it has to be idempotent.
        error_type: what is worth another attempt. Any other error is raised at once.
        wait_before: takes the error and the number of failed attempts. Returns the seconds to wait
            before the next attempt, or raises to give up.
    """
    for failed_attempts in count(1):
        try:
            return call()
        except error_type as error:
            failure = error
        # Outside of the handler: what is raised here does not drag the failure along as context.
        time.sleep(wait_before(failure, failed_attempts))
    raise AssertionError("unreachable")


def exponential_backoff(
    failed_attempts: int, first_s: float, longest_s: float
) -> float:
    """Return the wait after some failed attempts: `first_s`, doubled each time, up to a limit."""
    # Far more doublings would overflow a float.
    doublings = min(failed_attempts - 1, 30)
    return min(first_s * 2.0**doublings, longest_s)
