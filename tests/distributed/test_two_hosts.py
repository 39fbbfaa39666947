"""Two workers as separate hosts: no work is done twice, and one finishes what a lost one began."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
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
        kind = (
            "namespaces" if cluster.network.isolated else "processes without namespaces"
        )
        print("hosts are", kind)
        with cluster.hosts(tmp_path_factory.mktemp("setup")) as (control, *_):
            # Reports would only slow these tests down.
            control.run(
                "dagster", "sensor", "stop", "reports", "--workspace", "workspace.yaml"
            )
        yield cluster


def are_finished(cluster: Cluster, batches: list[str]) -> bool:
    runs = cluster.runs()
    return all(runs.get(batch, [""])[0] == "SUCCESS" for batch in batches)


def assert_every_row_once(cluster: Cluster, source: str) -> None:
    prompt_ids = sorted(cluster.prompts(source)["prompt_id"])
    for stage in always_made():
        rows = cluster.table(stage).filter(pl.col("source") == source)
        if stage is Stage.FINE_TUNE_SPLITS:
            rows = rows.filter(pl.col("kind") == "sft")
        assert sorted(rows["prompt_id"]) == prompt_ids, stage


def forget_calls(cluster: Cluster) -> int:
    """Reset the model server's count; return the number of calls in the journal."""
    cluster.model.control(reset=True)
    return cluster.calls_journaled()


def assert_no_key_twice(cluster: Cluster) -> None:
    ((count, distinct),) = cluster.postgres.rows(
        "SELECT count(*), count(DISTINCT key) FROM completions"
    )
    assert count == distinct > 0


def assert_no_secret_was_kept(cluster: Cluster, folder: Path) -> None:
    """Look in the database (runs, events, queue, journal), in the store, and on every host."""
    contents = {"PostgreSQL": cluster.postgres.dump()} | cluster.store.files()
    for file in folder.rglob("*"):
        if file.is_file():
            contents[str(file)] = file.read_bytes()
    for name, data in contents.items():
        assert not any(secret in data for secret in cluster.secrets), name


def test_a_backfill_is_completed_by_both_hosts_and_no_call_is_made_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = forget_calls(cluster)
    with cluster.hosts(tmp_path) as (control, first, second):
        batches = ingest(control, "shared", first=0, count=12)
        control.start(CONTROL)
        first.start(WORKER)
        second.start(WORKER)
        backfill(control, batches)
        cluster.wait_until(
            lambda: are_finished(cluster, batches), "both workers have made all batches"
        )
        assert all(cluster.runs()[batch] == ["SUCCESS"] for batch in batches)
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
        assert sorted(_count_batches(host) for host in (first, second)) == [0, 1]
    assert cluster.runs()[batch] == ["SUCCESS"]
    assert cluster.calls_answered() == cluster.calls_journaled() - before
    assert_no_key_twice(cluster)
    assert_every_row_once(cluster, "same")


def _count_batches(host: Host) -> int:
    """The number of batches that the backfill on this host reports."""
    match = re.search(r"(\d+) batch(?:es)? run", host.printed())
    assert match, host.printed()
    return int(match[1])


def test_a_batch_of_a_host_that_lost_its_power_is_finished_by_the_other(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = forget_calls(cluster)
    with cluster.hosts(tmp_path) as (control, first, second):
        batches = ingest(control, "lost", first=16, count=8)
        cluster.model.control(server={"tpot_s": 0.004})
        control.start(CONTROL)
        first.start(WORKER)
        second.start(WORKER)
        backfill(control, batches)

        def is_in_the_middle() -> bool:
            return (
                "RUN_START" in second.printed()
                and cluster.calls_journaled() - before > 20
            )

        cluster.wait_until(is_in_the_middle, "worker-b is in the middle of a batch")
        second.pull_the_plug()
        cluster.model.control(server={"tpot_s": 0.0001})
        cluster.wait_until(
            lambda: are_finished(cluster, batches),
            "worker-a has finished what worker-b left",
        )
        statuses = [status for batch in batches for status in cluster.runs()[batch]]
        assert statuses.count("FAILURE") == 1
    assert_every_row_once(cluster, "lost")
    assert_no_key_twice(cluster)
    assert_no_secret_was_kept(cluster, tmp_path)
    repeated = cluster.calls_answered() - (cluster.calls_journaled() - before)
    assert repeated <= CALLS_IN_FLIGHT
