"""Two workers as separate hosts: nothing is made twice, and one finishes what the other left when it lost its power."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.recipe.records import Stage
from tests.distributed.cluster import (
    AIDSAFE,
    CALLS_IN_FLIGHT,
    CONTROL,
    WORKER,
    Cluster,
    a_cluster,
    backfill,
    ingest,
)
from tests.distributed.hosts import Host

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with a_cluster(tmp_path_factory.mktemp("services")) as cluster:
        print(
            "hosts are",
            "namespaces" if cluster.network.isolated else "processes without namespaces",
        )
        with cluster.hosts(tmp_path_factory.mktemp("setup")) as (control, *_):
            control.run(
                "dagster", "sensor", "stop", "reports", "--workspace", "workspace.yaml"
            )  # not what this is about
        yield cluster


def all_finished(cluster: Cluster, wanted: list[str]) -> bool:
    runs = cluster.runs()
    return all(runs.get(batch, [""])[0] == "SUCCESS" for batch in wanted)


def assert_every_row_once(cluster: Cluster, source: str) -> None:
    given = sorted(cluster.prompts(source)["prompt_id"])
    for stage in Stage:
        rows = cluster.table(stage).filter(pl.col("source") == source)
        once = rows if stage is not Stage.FINE_TUNE_SPLITS else rows.filter(pl.col("kind") == "sft")
        assert sorted(once["prompt_id"]) == given, stage


def forget_calls(cluster: Cluster) -> int:
    """From now on the model server counts anew; returns what the journal holds already."""
    cluster.model.control(reset=True)
    return cluster.calls_journaled()


def assert_no_key_twice(cluster: Cluster) -> None:
    ((count, distinct),) = cluster.postgres.rows(
        "SELECT count(*), count(DISTINCT key) FROM completions"
    )
    assert count == distinct > 0


def assert_no_secret_was_kept(cluster: Cluster, folder: Path) -> None:
    """Neither in the database (runs, events, queue, journal), nor in the store, nor on any host."""
    on_hosts = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    kept = {"PostgreSQL": cluster.postgres.dump()} | cluster.store.files() | on_hosts
    assert [
        name for name, data in kept.items() if any(secret in data for secret in cluster.secrets)
    ] == []


def test_a_backfill_is_completed_by_both_hosts_and_no_call_is_made_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = forget_calls(cluster)
    with cluster.hosts(tmp_path) as (control, first, second):
        wanted = ingest(control, "shared", first=0, count=12)
        control.start(CONTROL)
        first.start(WORKER)
        second.start(WORKER)
        backfill(control, wanted)
        cluster.wait_until(
            lambda: all_finished(cluster, wanted), "both workers have made all batches"
        )
        assert all(cluster.runs()[batch] == ["SUCCESS"] for batch in wanted)
        assert all("RUN_SUCCESS" in host.printed() for host in (first, second))
    assert_every_row_once(cluster, "shared")
    assert_no_key_twice(cluster)
    assert cluster.calls_answered() == cluster.calls_journaled() - before


def test_two_hosts_that_backfill_at_once_without_a_queue_make_a_batch_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = forget_calls(cluster)
    with cluster.hosts(tmp_path) as (control, first, second):
        (batch,) = ingest(control, "same", first=12, count=4)
        commands = [host.start(*AIDSAFE, "backfill") for host in (first, second)]
        assert [process.wait(280) for process in commands] == [0, 0], (
            first.printed() + second.printed()
        )
        assert sorted(_made(host) for host in (first, second)) == [0, 1]
    assert cluster.runs()[batch] == ["SUCCESS"]
    assert cluster.calls_answered() == cluster.calls_journaled() - before
    assert_no_key_twice(cluster)
    assert_every_row_once(cluster, "same")


def _made(host: Host) -> int:
    """Batches that a backfill on this host says it has made."""
    found = re.search(r"(\d+) batches run", host.printed())
    assert found, host.printed()
    return int(found[1])


def test_what_a_host_that_lost_its_power_left_is_finished_by_the_other(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = forget_calls(cluster)
    with cluster.hosts(tmp_path) as (control, first, second):
        wanted = ingest(control, "lost", first=16, count=8)
        cluster.model.control(server={"tpot_s": 0.004})
        control.start(CONTROL)
        first.start(WORKER)
        second.start(WORKER)
        backfill(control, wanted)

        def is_in_the_middle() -> bool:
            return "RUN_START" in second.printed() and cluster.calls_journaled() - before > 20

        cluster.wait_until(is_in_the_middle, "worker-b is in the middle of a batch")
        second.pull_the_plug()
        cluster.model.control(server={"tpot_s": 0.0001})
        cluster.wait_until(
            lambda: all_finished(cluster, wanted), "worker-a has finished what worker-b left"
        )
        assert (
            sorted(status for batch in wanted for status in cluster.runs()[batch]).count("FAILURE")
            == 1
        )
    assert_every_row_once(cluster, "lost")
    assert_no_key_twice(cluster)
    assert_no_secret_was_kept(cluster, tmp_path)
    asked_again = cluster.calls_answered() - (cluster.calls_journaled() - before)
    assert asked_again <= CALLS_IN_FLIGHT
