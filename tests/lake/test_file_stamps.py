"""Which files a table has, while others write and remove them."""

import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from aidsafe_dagster.lake.file_stamps import stamped_files
from aidsafe_dagster.lake.lake import Lake

# Of stores that no test knows either.
pytestmark = pytest.mark.filterwarnings("ignore:UPath 'toldstore'")
TABLE = "seed_cots"
PLACE = f"{TABLE}/batch=b-1/rows.parquet"


class Store(MemoryFileSystem):  # type: ignore[misc]
    """A store that tells of its files in a way of its own."""

    protocol = "toldstore"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    told: ClassVar[Mapping[str, Any]] = {}

    def find(self, path: str, **options: Any) -> Any:
        plain = super().find(path, **{**options, "detail": True})
        told = {}
        for name, detail in plain.items():
            own = {key: detail[key] for key in ("name", "size", "type")}
            told[name] = {**own, **type(self).told}
        return told


@pytest.fixture
def store() -> Iterator[type[Store]]:
    fsspec.register_implementation("toldstore", Store, clobber=True)
    yield Store
    Store.store.clear()
    Store.told = {}


def stamp_in(store: type[Store]) -> str:
    lake = Lake("toldstore://lake")
    (lake.root / PLACE).write_bytes(b"rows")
    (file,) = stamped_files(lake, TABLE)
    return file.stamp


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Azure, WebDAV, Google and SFTP.
        ({"etag": "0x1", "metadata": None}, {"etag": "0x2", "metadata": None}),
        ({"created": 1, "modified": 1}, {"created": 1, "modified": 2}),
        ({"generation": "1"}, {"generation": "2"}),
        ({"mtime": 1.5}, {"mtime": 2.5}),
    ],
)
def test_a_file_of_equal_size_in_a_store_is_told_from_the_one_before(
    store: type[Store], before: dict[str, Any], after: dict[str, Any]
) -> None:
    stamps = []
    for told in (before, before, after):
        store.told = told
        stamps.append(stamp_in(store))
    assert stamps[0] == stamps[1] != stamps[2]


def test_a_file_of_which_a_store_tells_only_the_size_is_never_known(
    store: type[Store],
) -> None:
    assert stamp_in(store) != stamp_in(store)
