"""The driver with real dialogues, a real journal, and a scripted engine."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import RequestRejected, RetryableError
from aidsafe_dagster.recipe.dialogue import Dialogue, DialogueTask, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason, Stage
from tests.engines.driving import FAST, ScriptedEngine, a_task, some_tasks


def drive_tasks(
    tmp_path: Path,
    engine: ScriptedEngine,
    tasks: list[DialogueTask[str]],
    settings: DriverSettings = FAST,
) -> tuple[list[str | Failure], Progress]:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    try:
        return asyncio.run(drive(tasks, engine, journal, settings))
    finally:
        journal.close()


def test_every_dialogue_runs_to_its_end_and_results_keep_the_order(
    tmp_path: Path,
) -> None:
    turns = [1, 2, 3, 4] * 5
    tasks = [a_task(number, count) for number, count in enumerate(turns)]
    results, progress = drive_tasks(tmp_path, ScriptedEngine(), tasks)
    assert results == ["0", "01", "012", "0123"] * 5
    assert (progress.rows_done, progress.rows_failed, progress.replayed) == (20, 0, 0)
    assert progress.usage.prompt_tokens == 2 * progress.calls_made


@pytest.mark.parametrize(("limit", "peak"), [(None, 4), (2, 2)])
def test_the_slots_or_the_setting_bound_the_calls_in_flight(
    tmp_path: Path, limit: int | None, peak: int
) -> None:
    engine = ScriptedEngine()
    drive_tasks(tmp_path, engine, some_tasks(12), DriverSettings(calls_in_flight=limit))
    assert engine.peak == peak


def test_a_row_goes_on_before_all_others_have_started(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    drive_tasks(tmp_path, engine, some_tasks(40))
    first_row_done = engine.calls.index(("p0", 2))
    last_row_started = engine.calls.index(("p39", 0))
    assert first_row_done < last_row_started


@pytest.mark.parametrize("is_known", [True, False])
def test_among_the_last_rows_one_known_to_need_more_calls_does_not_end_later(
    tmp_path: Path, is_known: bool
) -> None:
    engine, long = ScriptedEngine(), a_task(11, turns=6)
    long.extra_calls = 3 if is_known else 0
    drive_tasks(
        tmp_path, engine, [*some_tasks(11), long], DriverSettings(calls_in_flight=2)
    )
    long_row = engine.calls.index(("p11", 3))
    other_row = engine.calls.index(("p10", 2))
    assert (long_row < other_row) is is_known


def test_completions_in_the_journal_are_replayed(tmp_path: Path) -> None:
    drive_tasks(tmp_path, ScriptedEngine(), some_tasks(5))
    again = ScriptedEngine()
    results, progress = drive_tasks(tmp_path, again, some_tasks(6))
    assert set(again.calls) == {("p5", 0), ("p5", 1), ("p5", 2)}
    assert (progress.replayed, progress.calls_made) == (15, 3)
    assert results == ["012"] * 6


def test_a_retryable_error_is_retried_and_the_row_succeeds(tmp_path: Path) -> None:
    def twice_busy(request: Request, attempt: int) -> None:
        if attempt < 2:
            raise RetryableError("busy", retry_after_s=0.0)

    results, progress = drive_tasks(tmp_path, ScriptedEngine(twice_busy), some_tasks(6))
    assert results == ["012"] * 6
    assert progress.retries == 2 * progress.calls_made


def test_a_call_that_always_fails_fails_only_its_row_with_stage_turn_and_error(
    tmp_path: Path,
) -> None:
    def doomed(request: Request, attempt: int) -> None:
        if (request.prompt_id, request.turn) == ("p1", 1):
            raise RetryableError("HTTP 500: no", retry_after_s=0.0)

    engine = ScriptedEngine(doomed)
    results, progress = drive_tasks(tmp_path, engine, some_tasks(3))
    failure = results[1]
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.stage, failure.turn) == (
        FailureReason.ENGINE_ERROR,
        Stage.SEED_COTS,
        1,
    )
    assert "HTTP 500: no (attempt 5, the last)" in failure.detail
    assert failure.redraws == ()
    assert Counter(engine.calls)["p1", 1] == FAST.max_attempts
    assert (results[0], results[2], progress.rows_failed) == ("012", "012", 1)


def test_a_rejected_request_is_not_retried(tmp_path: Path) -> None:
    def too_long(request: Request, attempt: int) -> None:
        raise RequestRejected("too long")

    engine = ScriptedEngine(too_long)
    results, _ = drive_tasks(tmp_path, engine, [a_task(0)])
    assert isinstance(results[0], Failure)
    assert (results[0].reason, len(engine.calls)) == (
        FailureReason.REJECTED_BY_ENGINE,
        1,
    )


def test_a_setup_error_stops_the_run_and_keeps_earlier_answers(tmp_path: Path) -> None:
    def wrong_key_later(request: Request, attempt: int) -> None:
        if request.turn == 1:
            raise SetupError("wrong key")

    with pytest.raises(SetupError, match="wrong key"):
        drive_tasks(tmp_path, ScriptedEngine(wrong_key_later), some_tasks(3))
    again = ScriptedEngine()
    drive_tasks(tmp_path, again, [a_task(0)])
    assert ("p0", 0) not in again.calls


def test_a_defect_in_one_dialogue_fails_only_its_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = a_task(1)

    def dialogue() -> Dialogue[str]:
        yield from ()
        raise KeyError("oops")

    results, _ = drive_tasks(
        tmp_path,
        ScriptedEngine(),
        [a_task(0), DialogueTask(broken.conversation, dialogue())],
    )
    assert results[0] == "012"
    assert isinstance(results[1], Failure)
    assert (results[1].reason, results[1].detail) == (
        FailureReason.INTERNAL_ERROR,
        "KeyError: 'oops'",
    )
    assert "the dialogue broke" in caplog.text


def test_a_row_that_failed_by_its_content_redraws_from_the_failed_task_on(
    tmp_path: Path,
) -> None:
    drive_tasks(tmp_path, ScriptedEngine(), [a_task(0)])
    again = ScriptedEngine()
    _, progress = drive_tasks(tmp_path, again, [a_task(0, redraws=(1,))])
    assert again.calls == [("p0", 1), ("p0", 2)]
    assert progress.replayed == 1
