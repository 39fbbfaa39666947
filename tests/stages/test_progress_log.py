"""The line of progress in a run's log."""

import logging
import time

import pytest

from aidsafe_dagster.engines.driver.progress import Progress, Rates
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.stages.progress_log import (
    ProgressLog,
    Reading,
    describe_seconds,
    watched_by,
)

LOG = logging.getLogger("progress")
USED = Usage(
    calls=5,
    prompt_tokens=12_000,
    cached_tokens=8000,
    completion_tokens=900,
    reasoning_tokens=300,
    cost=0.031,
)


def test_the_line_tells_tokens_and_money_so_far() -> None:
    line = ProgressLog(LOG, "seed_cots", "b-0001", "EUR").line(Progress(5, usage=USED))
    assert "12,000 tokens in (8,000 cached), 900 out (300 reasoning)" in line
    assert line.endswith("calls/s, EUR 0.031")


def test_without_prices_the_line_tells_tokens_alone() -> None:
    line = ProgressLog(LOG, "seed_cots", "b-0001").line(Progress(5, usage=USED))
    assert "900 out (300 reasoning)" in line
    assert line.endswith("calls/s")


def test_the_line_has_the_figures_of_the_live_view() -> None:
    progress = Progress(10, rows_done=5, usage=USED)
    line = ProgressLog(LOG, "seed_cots", "b-0001", "EUR").line(progress)
    assert "in (67 % cached), " in line
    assert line.endswith("EUR 0.031 so far and about EUR 0.062 for the stage")


def test_what_was_read_ahead_is_no_part_of_the_pace() -> None:
    progress = Progress(10, started=time.monotonic() - 100)
    progress.take_over(Progress(0, calls_made=5, usage=USED))
    assert progress.mean_rates == Rates(0, 0, 0)
    progress.calls_made += 5
    progress.usage += USED
    assert round(progress.mean_rates.tokens_in) == 120


def test_a_run_that_stops_can_still_tell_what_it_spent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    progress_log = ProgressLog(LOG, "seed_cots", "b-0001", "EUR")
    progress_log.log_latest()
    assert not caplog.messages
    progress_log(Progress(5, usage=USED))
    progress_log.log_latest()
    assert "EUR 0.031" in caplog.messages[-1]


def test_failures_are_told_by_reason_and_the_oldest_call_by_its_age() -> None:
    progress = Progress(5, rows_failed=3, oldest_sent=time.monotonic() - 12)
    progress.failures.update(["unparsable", "bad_text", "bad_text"])
    line = ProgressLog(LOG, "seed_cots", "b-0001").line(progress)
    assert "(3 failed: 2 bad_text, 1 unparsable)" in line
    assert "(the oldest for 12 s)" in line
    assert "time left not known yet" in line


def test_watchers_see_every_reading_until_they_leave() -> None:
    readings: list[Reading] = []
    progress_log = ProgressLog(LOG, "seed_cots", "b-0001")
    with watched_by(readings.append):
        progress_log(Progress(5))
        progress_log.log_end(Progress(5, rows_done=5))
    progress_log(Progress(5))
    assert [reading.is_over for reading in readings] == [False, True]
    assert readings[0].title == "seed_cots b-0001"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (77, "77 s"), (240, "4 min"), (12_000, "3 h 20 min")],
)
def test_times_are_told_in_two_units_at_most(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text
