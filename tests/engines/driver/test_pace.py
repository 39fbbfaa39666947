"""How fast a drive goes and how long it will still take, on a clock of the test's own."""

import pytest

from aidsafe_dagster.engines.driver.pace import Pace
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.records import Usage


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_drive(rows: int) -> tuple[Progress, Pace, Clock]:
    clock = Clock()
    progress = Progress(rows=rows, started=clock.now)
    return progress, Pace(progress, clock), clock


def answer(progress: Progress, count: int, done: int = 0) -> None:
    """Give rows so many answers, and finish some rows with all that they took: 4 each."""
    progress.completions += count
    progress.rows_done += done
    progress.completions_of_done += 4 * done


def test_rows_that_all_end_together_still_have_an_estimate() -> None:
    progress, pace, clock = a_drive(rows=100)
    progress.rows_begun = 100
    for _ in range(10):
        clock.now += 1
        answer(progress, 20)
        pace.look()
    assert pace.seconds_left is None
    answer(progress, 0, done=3)
    pace.look()
    # 400 answers in all at 4 a row and 20 a second, of which 200 are given.
    assert pace.seconds_left == pytest.approx(10, rel=0.1)


def test_while_nothing_is_answered_nobody_says_how_long_it_takes() -> None:
    progress, pace, clock = a_drive(rows=100)
    progress.rows_begun = 10
    for _ in range(20):
        clock.now += 1
        answer(progress, 4, done=1)
        pace.look()
    assert not pace.is_silent
    assert pace.seconds_left == pytest.approx(80, rel=0.1)
    for _ in range(25):
        clock.now += 1
        pace.look()
    assert pace.is_silent
    assert pace.seconds_left is None
    assert pace.seconds_since_answer == 25


def test_answers_from_the_journal_are_not_taken_for_the_pace_of_the_server() -> None:
    progress, pace, clock = a_drive(rows=1000)
    progress.rows_begun = 500
    clock.now += 1
    answer(progress, 2000, done=500)
    pace.look()
    for _ in range(40):
        clock.now += 1
        answer(progress, 4, done=1)
        pace.look()
    assert pace.seconds_left == pytest.approx(460, rel=0.1)


def test_a_slow_model_is_not_called_silent_between_its_answers() -> None:
    progress, pace, clock = a_drive(rows=10)
    for _ in range(5):
        clock.now += 60
        answer(progress, 1)
        pace.look()
    clock.now += 90
    pace.look()
    assert not pace.is_silent


def test_tokens_a_second_are_those_of_the_latest_calls() -> None:
    progress, pace, clock = a_drive(rows=10)
    for _ in range(60):
        clock.now += 1
        answer(progress, 1)
        progress.usage += Usage(calls=1, prompt_tokens=500, completion_tokens=40)
        pace.look()
    assert pace.rates.tokens_out == pytest.approx(40)
    assert pace.rates.tokens_in == pytest.approx(500)
    clock.now += 0.5
    assert pace.rates.tokens_out == pytest.approx(40)


def test_answers_from_the_journal_do_not_shorten_what_is_left() -> None:
    progress, pace, clock = a_drive(rows=20)
    progress.rows_begun = 20
    progress.replayed = 60
    answer(progress, 60, done=15)
    for _ in range(10):
        clock.now += 1
        answer(progress, 1)
        pace.look()
    # Five rows wait for an answer each at least, and one comes in a second.
    assert pace.seconds_left is not None
    assert pace.seconds_left >= 5
