"""A machine loses power during a backfill, and finishes it by itself when it is started again."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from aidsafe_dagster.cli.local_runs import unfinished
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.runs.dagster_internals import BulkActionStatus
from aidsafe_dagster.runs.locks import batch_lock
from tests.faults.commands import (
    SLOTS,
    answered_calls,
    processes_of,
    wait_until,
)
from tests.faults.several_batches import BATCHES, Backfill, several_batches, texts_of
from tests.faults.web_ui import WebUI, a_web_ui
from tests.serving import ModelServer, a_model_server
from tests.site import Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # minutes: the daemons look every so often
STARTING = dg.DagsterRunStatus.STARTING
Launch = Callable[[WebUI, Sequence[str]], str]
Moment = Callable[[Site, ModelServer], bool]


def in_the_middle(site: Site, server: ModelServer) -> bool:
    return bool(server.stats().get("ok", 0) >= 150)


def while_a_run_starts(site: Site, server: ModelServer) -> bool:
    return bool(site.instance.get_runs_count(dg.RunsFilter(statuses=[STARTING])))


@pytest.mark.parametrize(
    ("launch", "moments"),
    [
        (WebUI.backfill_job, [in_the_middle]),
        (WebUI.backfill_assets, [while_a_run_starts, in_the_middle]),
    ],
    ids=["a job's, once", "of assets, twice"],
)
def test_the_next_start_finishes_a_backfill_whose_processes_were_all_killed(
    tmp_path: Path,
    undisturbed_backfill: Backfill,
    launch: Launch,
    moments: Sequence[Moment],
) -> None:
    with (
        a_model_server(tmp_path) as server,
        several_batches(tmp_path / "site", server) as site,
    ):
        with a_web_ui(site.folder) as ui:
            backfill = launch(ui, BATCHES)
            wait_until(partial(moments[0], site, server), ui.alive, within_s=240)
        for moment in moments[1:]:
            with a_web_ui(site.folder) as ui:
                wait_until(partial(moment, site, server), ui.alive, within_s=240)
        assert processes_of(site.folder) == []
        with a_web_ui(site.folder) as ui:
            wait_until(lambda: is_over(site, backfill), ui.alive, within_s=400)
        assert texts_of(site) == undisturbed_backfill.texts
        assert unfinished(site.instance, site.lake, site.settings, site.batches) == {}
        assert not any(batch_lock(batch, site.settings).is_held() for batch in BATCHES)
        assert count_journaled(site) == undisturbed_backfill.calls
        repeated = answered_calls(server).total() - undisturbed_backfill.calls
        assert repeated <= SLOTS * len(moments)  # those in flight at a kill


def is_over(site: Site, backfill_id: str) -> bool:
    """Tell whether all batches are made, no run goes on, and the backfill counts as successful.

    The recovery says so of the backfill: to Dagster, it has a run that failed.
    """
    backfill = site.instance.get_backfill(backfill_id)
    return (
        site.lake.batches(Stage.FINE_TUNE_SPLITS) == list(BATCHES)
        and not site.instance.get_runs_count(
            dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
        )
        and backfill is not None
        and backfill.status is BulkActionStatus.COMPLETED_SUCCESS
    )


def count_journaled(site: Site) -> int:
    """Completions in the journal."""
    with closing(sqlite3.connect(site.folder / "data" / "journal.sqlite")) as database:
        count: int = database.execute("SELECT count(*) FROM completions").fetchone()[0]
    return count
