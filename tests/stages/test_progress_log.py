"""The line of progress in a run's log."""

import logging

import pytest

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.stages.progress_log import ProgressLog

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
    assert line.endswith(
        "12,000 tokens in (8,000 cached), 900 out (300 reasoning), EUR 0.031"
    )


def test_without_prices_the_line_tells_tokens_alone() -> None:
    line = ProgressLog(LOG, "seed_cots", "b-0001").line(Progress(5, usage=USED))
    assert line.endswith("900 out (300 reasoning)")


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
