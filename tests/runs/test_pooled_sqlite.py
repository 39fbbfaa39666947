"""Dagster's SQLite storage with connections that stay open."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import yaml

from aidsafe_dagster.runs.pooled_sqlite import OpenFiles
from tests.site import ROOT


def _instance(folder: Path) -> dg.DagsterInstance:
    folder.mkdir(exist_ok=True)
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    config["storage"]["custom"]["config"]["base_dir"] = str(folder / "data")
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config))
    return dg.DagsterInstance.from_config(str(folder))


def _report(instance: dg.DagsterInstance, batch: str) -> None:
    event = dg.AssetMaterialization("rows", partition=batch)
    instance.report_runless_asset_event(event)


def _partitions(instance: dg.DagsterInstance) -> set[str]:
    return instance.get_materialized_partitions(dg.AssetKey("rows"))


def test_the_shipped_instance_uses_it(tmp_path: Path) -> None:
    with _instance(tmp_path) as instance:
        storage = instance.get_ref().storage_data
        assert storage
        assert storage.class_name == "PooledSqliteStorage"


def test_events_of_several_threads_are_all_kept(tmp_path: Path) -> None:
    with _instance(tmp_path) as instance, ThreadPoolExecutor(4) as threads:
        batches = [f"batch-{number}" for number in range(20)]
        list(threads.map(lambda batch: _report(instance, batch), batches))
        assert _partitions(instance) == set(batches)


def test_dagsters_own_storage_reads_the_same_files(tmp_path: Path) -> None:
    with _instance(tmp_path) as instance:
        _report(instance, "ours")
    config = {"storage": {"sqlite": {"base_dir": str(tmp_path / "data")}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        _report(instance, "dagster's")
    with _instance(tmp_path) as instance:
        assert _partitions(instance) == {"ours", "dagster's"}


def test_a_closed_instance_leaves_no_log_of_writes_behind(tmp_path: Path) -> None:
    with _instance(tmp_path) as instance:
        _report(instance, "batch")
    assert not list(tmp_path.rglob("*.db-wal"))


def test_a_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    with _instance(tmp_path) as instance:
        _report(instance, "before")
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "data", kept)
    with _instance(tmp_path) as instance:
        _report(instance, "after")
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(kept, tmp_path / "data")
        assert _partitions(instance) == {"before"}


def test_few_files_stay_open(tmp_path: Path) -> None:
    open_files = OpenFiles()
    first = open_files.engine(f"sqlite:///{tmp_path}/0.db")
    assert open_files.engine(f"sqlite:///{tmp_path}/0.db") is first
    for number in range(1, 40):
        open_files.engine(f"sqlite:///{tmp_path}/{number}.db")
    assert open_files.engine(f"sqlite:///{tmp_path}/0.db") is not first
    open_files.close()
