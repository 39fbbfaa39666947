"""Synchronous retries: until a call succeeds, or there is reason to give up."""

import pytest

from aidsafe_dagster.primitives.retry import exponential_backoff, retry


class Unavailable(Exception):
    pass


def test_a_call_is_made_again_until_it_succeeds() -> None:
    errors = [Unavailable("one"), Unavailable("two")]
    failures = list[tuple[str, int]]()

    def call() -> str:
        if len(failures) < len(errors):
            raise errors[len(failures)]
        return "an answer"

    def wait_before(error: Unavailable, failed_attempts: int) -> float:
        failures.append((str(error), failed_attempts))
        return 0.0

    assert retry(call, Unavailable, wait_before) == "an answer"
    assert failures == [("one", 1), ("two", 2)]


def test_who_gives_up_raises_an_error_without_the_failure_as_its_context() -> None:
    def call() -> None:
        raise Unavailable("a secret of the client")

    def give_up(error: Unavailable, failed_attempts: int) -> float:
        raise ValueError("gave up")

    with pytest.raises(ValueError, match="gave up") as raised:
        retry(call, Unavailable, give_up)
    assert raised.value.__context__ is None


def test_any_other_error_is_raised_at_once() -> None:
    def call() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        retry(call, Unavailable, lambda error, failed_attempts: 0.0)


def test_a_backoff_doubles_up_to_its_limit() -> None:
    waits = [
        exponential_backoff(n, first_s=1.0, longest_s=10.0)
        for n in (1, 2, 3, 4, 5, 5000)
    ]
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
