"""Times that were noted by a clock that is set now and then."""

from datetime import UTC, datetime, timedelta

import pytest

from aidsafe_dagster.primitives.passed_time import has_passed, lies_ahead

PAUSE = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("ago", "is_over"),
    [
        (timedelta(minutes=4), False),
        (timedelta(minutes=6), True),
        # Hosts differ a little; an hour ahead is a clock that was set back.
        (timedelta(seconds=-30), False),
        (timedelta(hours=-1), True),
    ],
)
def test_a_pause_does_not_wait_for_a_clock_that_was_set_back(
    ago: timedelta, *, is_over: bool
) -> None:
    assert has_passed(PAUSE, since=datetime.now(UTC) - ago) is is_over


def test_only_a_moment_that_clocks_could_not_differ_by_lies_ahead() -> None:
    now = datetime.now(UTC)
    assert not lies_ahead(now + timedelta(seconds=30))
    assert lies_ahead(now + timedelta(minutes=2))
