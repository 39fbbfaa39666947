"""A machine loses its power in the middle of a backfill. Started again, it ends the backfill without a person."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from aidsafe_dagster.cli.local_runs import unfinished
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.runs.batch_lock import holder_of
from tests.faults.commands import SLOTS, answered, processes_of, served_by, until
from tests.faults.forks import forked, said
from tests.faults.web_ui import WebUI, a_web_ui
from tests.serving import ModelServer, a_model_server
from tests.site import Site, a_site, prompts_file, some_prompts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # minutes: the daemons look every so often
BATCHES = ("mine-0001", "mine-0002", "mine-0003")
ROWS = 4
STARTING = dg.DagsterRunStatus.STARTING
Launch = Callable[[WebUI, Sequence[str]], str]
Moment = Callable[[Site, ModelServer], bool]


@dataclass(frozen=True)
class Made:
    texts: Mapping[tuple[str, str], Any]
    """By stage and batch: what depends on the server's plan alone."""
    calls: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("undisturbed")
    with a_model_server(folder) as server, several_batches(folder / "site", server) as site:
        with forked(site.folder, "backfill") as command:
            command.join(280)
            assert command.exitcode == 0, said(site.folder, command)
        return Made(texts_of(site), answered(server).total())


@contextmanager
def several_batches(folder: Path, server: ModelServer) -> Iterator[Site]:
    with a_site(folder, ingest={"batch_size": ROWS}, **served_by(server)) as site:
        site.ingest(prompts_file(folder, some_prompts(ROWS * len(BATCHES))))
        yield site


def texts_of(site: Site) -> dict[tuple[str, str], Any]:
    return {
        (stage, batch): site.lake.rows(stage, batch)
        .drop("usage", "conversation", strict=False)
        .rows()
        for stage in Stage
        for batch in site.lake.batches(stage)
    }


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
def test_the_next_start_ends_a_backfill_of_which_everything_was_killed(
    tmp_path: Path, undisturbed: Made, launch: Launch, moments: Sequence[Moment]
) -> None:
    with a_model_server(tmp_path) as server, several_batches(tmp_path / "site", server) as site:
        with a_web_ui(site.folder) as ui:
            backfill = launch(ui, BATCHES)
            until(lambda: moments[0](site, server), ui.alive, within_s=240)
        for moment in moments[1:]:
            with a_web_ui(site.folder) as ui:
                until(lambda moment=moment: moment(site, server), ui.alive, within_s=240)  # type: ignore[misc]
        assert processes_of(site.folder) == []
        with a_web_ui(site.folder) as ui:
            until(lambda: is_over(site, backfill), ui.alive, within_s=400)
        assert texts_of(site) == undisturbed.texts
        assert unfinished(site.instance, site.lake, site.settings, site.batches) == {}
        assert [holder_of(batch, site.settings.home) for batch in BATCHES] == [None] * len(BATCHES)
        assert recorded(site) == undisturbed.calls
        assert answered(server).total() - undisturbed.calls <= SLOTS * len(
            moments
        )  # those in flight at a kill


def is_over(site: Site, backfill_id: str) -> bool:
    """Every batch is made, and neither a run nor the backfill claims to be going on."""
    backfill = site.instance.get_backfill(backfill_id)
    return (
        site.lake.batches(Stage.FINE_TUNE_SPLITS) == list(BATCHES)
        and not site.instance.get_runs_count(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
        and backfill is not None
        and backfill.status in BULK_ACTION_TERMINAL_STATUSES
    )


def recorded(site: Site) -> int:
    """Completions in the journal."""
    with closing(sqlite3.connect(site.folder / "data" / "journal.sqlite")) as database:
        found: int = database.execute("SELECT count(*) FROM completions").fetchone()[0]
    return found
