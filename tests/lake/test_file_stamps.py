"""Which files a table has, while others write and remove them."""

import shutil
import threading
from pathlib import Path

from aidsafe_dagster.lake.file_stamps import stamped_files
from aidsafe_dagster.lake.lake import Lake

TABLE = "seed_cots"


def test_partitions_come_and_go_while_they_are_listed(tmp_path: Path) -> None:
    is_over = threading.Event()
    table = tmp_path / TABLE
    table.mkdir()

    def write_and_remove() -> None:
        while not is_over.is_set():
            for number in range(20):
                partition = table / f"batch=b-{number}"
                partition.mkdir()
                (partition / "rows.parquet").touch()
            for partition in table.iterdir():
                shutil.rmtree(partition)

    writer = threading.Thread(target=write_and_remove)
    writer.start()
    try:
        for _ in range(1000):
            for file in stamped_files(Lake(str(tmp_path)), TABLE):
                assert file.name == "rows.parquet"
    finally:
        is_over.set()
        writer.join()


def test_a_file_by_the_name_of_a_partition_is_none(tmp_path: Path) -> None:
    (tmp_path / TABLE).mkdir()
    (tmp_path / TABLE / "batch=b-1").touch()
    assert list(stamped_files(Lake(str(tmp_path)), TABLE)) == []
