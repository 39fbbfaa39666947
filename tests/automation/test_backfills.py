"""A backfill whose batches are all made reads as successful, whatever became of its own runs."""

import time
from pathlib import Path

import dagster as dg
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.runs.dagster_internals import (
    BACKFILL_ID_TAG,
    BulkActionStatus,
    PartitionBackfill,
)
from tests.automation.test_recovery import (
    BATCH,
    a_dead_process,
    a_started_run,
    ingest_a_batch,
    tick,
)
from tests.site import Site, a_site

# Dagster itself calls it where it makes a backfill.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`")


def a_failed_backfill(site: Site) -> str:
    """Return the id of a backfill of all stages of the batch, whose one run failed."""
    from aidsafe_dagster.definitions import defs

    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id="failed",
        asset_graph=defs.resolve_asset_graph(),
        partition_names=[BATCH],
        asset_selection=[dg.AssetKey(str(stage)) for stage in always_made()],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=site.instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    failed = backfill._replace(status=BulkActionStatus.COMPLETED_FAILED)
    site.instance.add_backfill(failed)
    run = a_started_run(site, a_dead_process(), **{BACKFILL_ID_TAG: "failed"})
    site.instance.report_run_failed(run)
    return backfill.backfill_id


def status_of(site: Site, backfill_id: str) -> BulkActionStatus:
    backfill = site.instance.get_backfill(backfill_id)
    assert backfill is not None
    return backfill.status


def test_a_backfill_whose_batches_were_made_since_no_longer_reads_as_failed(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        backfill_id = a_failed_backfill(site)
        tick(site)
        # Nothing is made yet.
        assert status_of(site, backfill_id) is BulkActionStatus.COMPLETED_FAILED
        assert run_job(site.instance, "make_batch", partition=BATCH).success
        tick(site)
        assert status_of(site, backfill_id) is BulkActionStatus.COMPLETED_SUCCESS


def test_a_backfill_whose_batch_failed_at_last_still_reads_as_failed(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        assert run_job(site.instance, "make_batch", partition=BATCH).success
        # The rows of the earlier run stand, and the later one made nothing of what it was to make.
        backfill_id = a_failed_backfill(site)
        tick(site)
        assert status_of(site, backfill_id) is BulkActionStatus.COMPLETED_FAILED
