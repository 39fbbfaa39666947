"""Reading ahead: the next stages of finished rows, in slots that would be idle."""

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


class Named(str):
    """A row's text that knows its prompt, as records do."""

    prompt_id: str


def named(number: int, stage: Stage, turns: int = 2, start: str = "") -> DialogueTask[Any]:
    """A row whose record is what it was told."""
    case = a_task(number, turns, stage=stage, start=start)

    def dialogue(inner: Any = case.dialogue) -> Any:
        record = Named((yield from inner))
        record.prompt_id = f"p{number}"
        return record

    return DialogueTask(case.conversation, dialogue())


def the_next(stage: Stage, before: Stage, then: tuple[NextStage, ...] = ()) -> NextStage:
    def case(trail: RecordsByStage) -> DialogueTask[Any]:
        record = trail[before]
        return named(int(record.prompt_id[1:]), stage, start=str(record))

    return NextStage(stage, case, then)


def one_then_the_others(
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


def stage_two(results: list[Any]) -> list[DialogueTask[Any]]:
    return [
        named(int(r.prompt_id[1:]), SECOND, start=str(r))
        for r in results
        if not isinstance(r, Failure)
    ]


def test_the_next_stage_finds_its_answers_and_no_call_is_made_twice(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    second = Progress(rows=6)

    async def work(driver: Driver) -> None:
        chain = the_next(SECOND, FIRST, (the_next(THIRD, SECOND),))
        results = await driver.drive(
            [named(n, FIRST, turns=2 + 6 * (n == 5)) for n in range(6)], Progress(6), [chain]
        )
        assert engine.stages.count(SECOND) > 0
        await driver.drive(stage_two(results), second, chain.next_stages)

    driver = one_then_the_others(tmp_path, engine, work)
    assert Counter(engine.asked).most_common(1)[0][1] <= 3  # once a stage
    assert engine.stages.count(SECOND) == second.calls_made == 12
    assert second.read_ahead > 0
    assert second.replayed == 0
    assert second.usage.prompt_tokens == 2 * 12
    assert driver.unused_calls == {THIRD: engine.stages.count(THIRD)}


def test_a_stage_that_needs_a_call_under_way_waits_for_it(tmp_path: Path) -> None:
    class Slow(ScriptedEngine):
        async def complete(self, request: Request, attempt: int) -> Completion:
            if request.stage == SECOND:
                await asyncio.sleep(0.2)
            return await super().complete(request, attempt)

    engine = Slow()

    async def work(driver: Driver) -> None:
        results = await driver.drive(
            [named(0, FIRST, turns=1), named(1, FIRST, turns=9)],
            Progress(2),
            [the_next(SECOND, FIRST)],
        )
        await driver.drive(stage_two(results), Progress(2))

    one_then_the_others(tmp_path, engine, work)
    assert engine.stages.count(SECOND) == 4


def test_rows_that_a_step_waits_for_come_first(tmp_path: Path) -> None:
    engine = ScriptedEngine()

    async def work(driver: Driver) -> None:
        await driver.drive(
            [named(n, FIRST) for n in range(30)], Progress(30), [the_next(SECOND, FIRST)]
        )

    one_then_the_others(tmp_path, engine, work)
    assert SECOND not in engine.stages[: 2 * 30 - engine.slots]


def test_a_failed_row_and_one_that_the_row_gate_keeps_back_are_not_read_ahead(
    tmp_path: Path,
) -> None:
    def doomed(request: Request, attempt: int) -> None:
        if request.prompt_id == "p0":
            raise RetryableError("no", retry_after_s=0.0)

    engine = ScriptedEngine(doomed)

    def gated(trail: RecordsByStage) -> DialogueTask[Any] | None:
        return None if trail[FIRST].prompt_id == "p1" else the_next(SECOND, FIRST).make_task(trail)

    async def work(driver: Driver) -> None:
        cases = [named(n, FIRST, turns=1 + 9 * (n == 2)) for n in range(4)]
        await driver.drive(cases, Progress(4), [NextStage(SECOND, gated)])

    one_then_the_others(tmp_path, engine, work)
    ahead = {
        p for (p, _), stage in zip(engine.asked, engine.stages, strict=True) if stage == SECOND
    }
    assert ahead <= {"p2", "p3"}
    assert "p3" in ahead


def test_a_mistake_in_the_set_up_of_a_later_stage_is_the_error_of_that_stage(
    tmp_path: Path,
) -> None:
    def no_such_model(request: Request, attempt: int) -> None:
        if request.stage == SECOND:
            raise SetupError("no such model")

    engine = ScriptedEngine(no_such_model)

    async def work(driver: Driver) -> None:
        cases = [named(n, FIRST, turns=1 + 9 * (n == 3)) for n in range(4)]
        results = await driver.drive(cases, Progress(4), [the_next(SECOND, FIRST)])
        assert len(results) == 4
        assert engine.stages.count(SECOND) <= engine.slots
        with pytest.raises(SetupError, match="no such model"):
            await driver.drive(stage_two(results), Progress(4))

    one_then_the_others(tmp_path, engine, work)


def test_a_call_read_ahead_to_its_last_attempt_is_not_tried_as_often_again(tmp_path: Path) -> None:
    def doomed(request: Request, attempt: int) -> None:
        if request.stage == SECOND and request.prompt_id == "p0":
            raise RetryableError("HTTP 500", retry_after_s=0.0)

    engine = ScriptedEngine(doomed)

    async def work(driver: Driver) -> None:
        cases = [named(0, FIRST, turns=1), named(1, FIRST, turns=60)]
        results = await driver.drive(cases, Progress(2), [the_next(SECOND, FIRST)])
        failure, row = await driver.drive(stage_two(results), Progress(2))
        assert "HTTP 500 (attempt 5, the last)" in failure.detail
        assert not isinstance(row, Failure)

    one_then_the_others(tmp_path, engine, work)
    asked = Counter(zip(engine.asked, engine.stages, strict=True))
    assert asked[("p0", 0), SECOND] == FAST.max_attempts


def test_nothing_is_read_ahead_where_the_settings_say_so(tmp_path: Path) -> None:
    engine = ScriptedEngine()

    async def work(driver: Driver) -> None:
        cases = [named(n, FIRST, turns=1 + 9 * (n == 3)) for n in range(4)]
        await driver.drive(cases, Progress(4), [the_next(SECOND, FIRST)])

    one_then_the_others(tmp_path, engine, work, DriverSettings(read_ahead=False))
    assert set(engine.stages) == {FIRST}


def test_a_defect_in_making_a_row_s_next_case_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(trail: RecordsByStage) -> DialogueTask[Any]:
        raise KeyError("oops")

    engine = ScriptedEngine()

    async def work(driver: Driver) -> None:
        cases = [named(n, FIRST, turns=1 + 9 * (n == 3)) for n in range(4)]
        assert len(await driver.drive(cases, Progress(4), [NextStage(SECOND, broken)])) == 4

    one_then_the_others(tmp_path, engine, work)
    assert "could not be read ahead" in caplog.text
