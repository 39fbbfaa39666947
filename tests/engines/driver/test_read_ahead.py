"""Read-ahead: the next stages of finished rows, in slots that would be idle."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import NextStage, RecordsByStage
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import RetryableError
from aidsafe_dagster.recipe.dialogue import Completion, DialogueTask, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, Stage
from tests.engines.driving import FAST, ScriptedEngine, a_task

FIRST, SECOND, THIRD = Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS


class TextRecord(str):
    """The text of a row, with the prompt's id as in a record."""

    prompt_id: str


def a_named_task(
    number: int, stage: Stage, turns: int = 2, start: str = ""
) -> DialogueTask[Any]:
    """Make a row whose record is all its answers, joined."""
    task = a_task(number, turns, stage=stage, start=start)

    def dialogue(inner: Any = task.dialogue) -> Any:
        record = TextRecord((yield from inner))
        record.prompt_id = f"p{number}"
        return record

    return DialogueTask(task.conversation, dialogue())


def tasks_with_a_long_last(
    count: int, turns: int, last: int
) -> list[DialogueTask[Any]]:
    """Make rows of so many turns. The last row has more, and leaves slots free at its end."""
    tasks = [a_named_task(number, FIRST, turns) for number in range(count - 1)]
    return [*tasks, a_named_task(count - 1, FIRST, last)]


def a_next_stage(
    stage: Stage, before: Stage, next_stages: tuple[NextStage, ...] = ()
) -> NextStage:
    def make_task(records: RecordsByStage) -> DialogueTask[Any]:
        record = records[before]
        return a_named_task(int(record.prompt_id[1:]), stage, start=str(record))

    return NextStage(stage, make_task, next_stages)


def run_with_driver(
    folder: Path,
    engine: ScriptedEngine,
    work: Callable[[Driver], Awaitable[None]],
    settings: DriverSettings = FAST,
) -> Driver:
    async def run() -> Driver:
        with closing(Journal(f"sqlite:///{folder / 'journal.sqlite'}")) as journal:
            driver = Driver(engine, journal, settings)
            try:
                await work(driver)
            finally:
                await driver.close()
        return driver

    return asyncio.run(run())


def second_stage(results: list[Any]) -> list[DialogueTask[Any]]:
    make_task = a_next_stage(SECOND, FIRST).make_task
    tasks = (
        make_task({FIRST: record})
        for record in results
        if not isinstance(record, Failure)
    )
    return [task for task in tasks if task is not None]


def test_the_next_stage_uses_the_calls_read_ahead_and_makes_none_twice(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine()
    second = Progress(rows=6)

    async def work(driver: Driver) -> None:
        chain = a_next_stage(SECOND, FIRST, (a_next_stage(THIRD, SECOND),))
        tasks = tasks_with_a_long_last(6, turns=2, last=8)
        results = await driver.drive(tasks, Progress(6), [chain])
        assert engine.stages.count(SECOND) > 0
        await driver.drive(second_stage(results), second, chain.next_stages)

    driver = run_with_driver(tmp_path, engine, work)
    # A turn of a prompt has the same name in all three stages.
    assert max(Counter(engine.calls).values()) <= 3
    assert engine.stages.count(SECOND) == second.calls_made == 12
    assert second.read_ahead > 0
    assert second.replayed == 0
    assert second.usage.prompt_tokens == 2 * 12
    assert driver.unused_calls == {THIRD: engine.stages.count(THIRD)}


def test_a_stage_joins_the_calls_that_are_under_way(tmp_path: Path) -> None:
    class Slow(ScriptedEngine):
        async def complete(self, request: Request, attempt: int) -> Completion:
            if request.stage == SECOND:
                await asyncio.sleep(0.2)
            return await super().complete(request, attempt)

    engine = Slow()

    async def work(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(2, turns=1, last=9)
        results = await driver.drive(tasks, Progress(2), [a_next_stage(SECOND, FIRST)])
        await driver.drive(second_stage(results), Progress(2))

    run_with_driver(tmp_path, engine, work)
    assert engine.stages.count(SECOND) == 4


def test_rows_that_a_step_waits_for_come_first(tmp_path: Path) -> None:
    engine = ScriptedEngine()

    async def work(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(30, turns=2, last=2)
        await driver.drive(tasks, Progress(30), [a_next_stage(SECOND, FIRST)])

    run_with_driver(tmp_path, engine, work)
    # Slots are free for the second stage only once the last calls of the first are in flight.
    until_last_calls = 2 * 30 - engine.slots
    assert SECOND not in engine.stages[:until_last_calls]


def test_failed_rows_and_rows_stopped_by_the_row_gate_are_not_read_ahead(
    tmp_path: Path,
) -> None:
    def doomed(request: Request, attempt: int) -> None:
        if request.prompt_id == "p0":
            raise RetryableError("no", retry_after_s=0.0)

    engine = ScriptedEngine(doomed)

    def gated(records: RecordsByStage) -> DialogueTask[Any] | None:
        if records[FIRST].prompt_id == "p1":
            return None
        return a_next_stage(SECOND, FIRST).make_task(records)

    async def work(driver: Driver) -> None:
        # The third row is long, so the fourth has time to be read ahead.
        turns = [1, 1, 10, 1]
        tasks = [
            a_named_task(number, FIRST, count) for number, count in enumerate(turns)
        ]
        await driver.drive(tasks, Progress(4), [NextStage(SECOND, gated)])

    run_with_driver(tmp_path, engine, work)
    read_ahead = set()
    for (prompt_id, _), stage in zip(engine.calls, engine.stages, strict=True):
        if stage == SECOND:
            read_ahead.add(prompt_id)
    assert read_ahead <= {"p2", "p3"}
    assert "p3" in read_ahead


def test_a_setup_error_while_reading_ahead_stops_all_calls_to_that_server(
    tmp_path: Path,
) -> None:
    def no_such_model(request: Request, attempt: int) -> None:
        if request.stage == SECOND:
            raise SetupError("no such model")

    engine = ScriptedEngine(no_such_model)

    async def work(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(4, turns=1, last=10)
        with pytest.raises(SetupError, match="no such model"):
            await driver.drive(tasks, Progress(4), [a_next_stage(SECOND, FIRST)])
        assert engine.stages.count(SECOND) <= engine.slots

    run_with_driver(tmp_path, engine, work)


def test_a_call_given_up_by_read_ahead_is_not_retried_by_its_stage(
    tmp_path: Path,
) -> None:
    def doomed(request: Request, attempt: int) -> None:
        if request.stage == SECOND and request.prompt_id == "p0":
            raise RetryableError("HTTP 500", retry_after_s=0.0)

    engine = ScriptedEngine(doomed)

    async def work(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(2, turns=1, last=60)
        results = await driver.drive(tasks, Progress(2), [a_next_stage(SECOND, FIRST)])
        failure, row = await driver.drive(second_stage(results), Progress(2))
        assert "HTTP 500 (attempt 5, the last)" in failure.detail
        assert not isinstance(row, Failure)

    run_with_driver(tmp_path, engine, work)
    attempts = Counter(zip(engine.calls, engine.stages, strict=True))
    assert attempts[("p0", 0), SECOND] == FAST.max_attempts


def test_read_ahead_can_be_switched_off(tmp_path: Path) -> None:
    engine = ScriptedEngine()

    async def work(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(4, turns=1, last=10)
        await driver.drive(tasks, Progress(4), [a_next_stage(SECOND, FIRST)])

    run_with_driver(tmp_path, engine, work, DriverSettings(read_ahead=False))
    assert set(engine.stages) == {FIRST}


def test_a_defect_in_building_a_row_s_next_task_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(records: RecordsByStage) -> DialogueTask[Any]:
        raise KeyError("oops")

    engine = ScriptedEngine()

    async def work(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(4, turns=1, last=10)
        assert (
            len(await driver.drive(tasks, Progress(4), [NextStage(SECOND, broken)]))
            == 4
        )

    run_with_driver(tmp_path, engine, work)
    assert "could not be read ahead" in caplog.text


def test_a_stage_that_is_recorded_is_hardly_replayed_ahead(tmp_path: Path) -> None:
    begun = Counter[str]()

    def a_counted_stage() -> NextStage:
        inner = a_next_stage(SECOND, FIRST).make_task

        def make_task(records: RecordsByStage) -> DialogueTask[Any] | None:
            begun["rows"] += 1
            return inner(records)

        return NextStage(SECOND, make_task)

    engine = ScriptedEngine()

    async def record_all(driver: Driver) -> None:
        results = await driver.drive(tasks_with_a_long_last(200, 1, 1), Progress(200))
        await driver.drive(second_stage(results), Progress(200))

    async def make_again(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(200, 1, 1)
        await driver.drive(tasks, Progress(200), [a_counted_stage()])
        # What was offered is looked through while no step is at work.
        await asyncio.sleep(0.5)

    run_with_driver(tmp_path, engine, record_all)
    calls = len(engine.calls)
    run_with_driver(tmp_path, engine, make_again)
    assert len(engine.calls) == calls
    assert 0 < begun["rows"] < 60


def test_rows_that_are_not_recorded_are_found_behind_those_that_are(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine()

    async def record_some(driver: Driver) -> None:
        results = await driver.drive(tasks_with_a_long_last(200, 1, 1), Progress(200))
        await driver.drive(second_stage(results[:100]), Progress(100))

    async def go_on(driver: Driver) -> None:
        tasks = tasks_with_a_long_last(200, 1, 1)
        await driver.drive(tasks, Progress(200), [a_next_stage(SECOND, FIRST)])
        await asyncio.sleep(1.0)

    run_with_driver(tmp_path, engine, record_some)
    calls = len(engine.calls)
    run_with_driver(tmp_path, engine, go_on)
    assert len(engine.calls) - calls > 50
