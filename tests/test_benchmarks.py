"""The rows of the benchmarks: a figure about rows that were lost would say nothing."""

import asyncio

from benchmarks.plain import complete_all
from benchmarks.rows import dialogue_tasks, digest
from benchmarks.server import a_simulated_server

ROWS = 8


def test_the_benchmarks_rows_are_made_on_the_simulated_server() -> None:
    with a_simulated_server(slots=ROWS, pace=1000) as server:
        tasks = dialogue_tasks(ROWS)
        work = complete_all(tasks, server.base_url, ROWS, lambda: None)
        rows = asyncio.run(work)
    assert len({digest(row) for row in rows}) == ROWS
    assert all(rows)
