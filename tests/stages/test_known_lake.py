"""What is kept of a lake between two commands, and when it is read again."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aidsafe_dagster.lake.lake import FAILURES, Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.stages.known_lake import KnownLake
from tests.builders import a_cot_grades, a_failure, a_refined_cot, a_seed_cot
from tests.reports.builders import a_lake

BATCH = "b-0001"


def known(lake: Lake, folder: Path) -> KnownLake:
    """Return the lake as a command finds it, with everything read."""
    lake = KnownLake(lake, folder / "facts.sqlite")
    for _ in lake.read_all():
        pass
    return lake


def unread(lake: Lake, folder: Path) -> int:
    """Return how many partitions the next command has to read."""
    steps = list(KnownLake(lake, folder / "facts.sqlite").read_all())
    return len(steps)


def a_made_lake(folder: Path) -> Lake:
    return a_lake(
        folder,
        BATCH,
        failures=[a_failure(stage="seed_cots", batch=BATCH)],
        seed_cots=[a_seed_cot(batch=BATCH)],
        refined_cots=[a_refined_cot(batch=BATCH)],
    )


def test_the_facts_are_those_of_the_files(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    first = known(lake, tmp_path).facts(Stage.SEED_COTS, BATCH)
    again = known(lake, tmp_path).facts(Stage.SEED_COTS, BATCH)
    assert again == first
    assert (first.rows, first.failures) == (1, 1)
    assert first.fingerprint == lake.fingerprint(Stage.SEED_COTS, BATCH)


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    assert unread(lake, tmp_path) > 0
    known(lake, tmp_path)
    assert unread(lake, tmp_path) == 0
    lake.store(Stage.SEED_COTS, BATCH, [], type(a_seed_cot()), [])
    assert unread(lake, tmp_path) == 1
    assert known(lake, tmp_path).facts(Stage.SEED_COTS, BATCH).rows == 0


def test_a_file_of_the_same_size_and_time_is_another_file(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    before = known(lake, tmp_path).fingerprint(Stage.SEED_COTS, BATCH)
    path = Path(str(lake.rows_path(Stage.SEED_COTS, BATCH)))
    state = path.stat()
    content = bytearray(path.read_bytes())
    # Of the metadata at the end, which may say anything about who wrote the file.
    content[content.index(b"Polars")] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    after = known(lake, tmp_path).fingerprint(Stage.SEED_COTS, BATCH)
    assert after == lake.fingerprint(Stage.SEED_COTS, BATCH) != before


def test_a_batch_that_was_taken_back_is_not_known(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    known(lake, tmp_path)
    lake.remove(Stage.SEED_COTS, BATCH)
    after = known(lake, tmp_path)
    assert after.batches(Stage.SEED_COTS) == []
    assert not after.has(Stage.SEED_COTS, BATCH)
    with closing(sqlite3.connect(tmp_path / "facts.sqlite")) as database:
        stages = database.execute("SELECT stage FROM facts").fetchall()
    assert stages == [(Stage.REFINED_COTS,)]


def test_a_damaged_partition_is_told_of_by_whoever_asks_for_it(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    Path(str(lake.rows_path(Stage.SEED_COTS, BATCH))).write_bytes(b"no Parquet")
    damaged = known(lake, tmp_path)
    assert damaged.facts(Stage.REFINED_COTS, BATCH).rows == 1
    with pytest.raises(SetupError, match="not a readable Parquet file"):
        damaged.facts(Stage.SEED_COTS, BATCH)


def a_lake_of_three(folder: Path) -> Lake:
    """Batches of one, two and no seeds, of which the second has a failure as well."""
    sizes = {"b-0001": 1, "b-0002": 2, "b-0003": 0}
    for batch, size in sizes.items():
        failure = a_failure(stage="seed_cots", batch=batch)
        lake = a_lake(
            folder,
            batch,
            failures=[failure] if batch == "b-0002" else [],
            seed_cots=[a_seed_cot(batch=batch) for _ in range(size)],
            refined_cots=[a_refined_cot(batch=batch) for _ in range(size)],
            cot_grades=[a_cot_grades(batch=batch) for _ in range(size)],
        )
    return lake


def test_facts_read_together_are_those_read_one_by_one(tmp_path: Path) -> None:
    lake = a_lake_of_three(tmp_path)
    together = known(lake, tmp_path)
    alone = KnownLake(lake)
    for stage in (Stage.SEED_COTS, Stage.REFINED_COTS, Stage.COT_GRADES):
        for batch in lake.batches(stage):
            assert together.facts(stage, batch) == alone.facts(stage, batch)
    rows = [together.facts(Stage.SEED_COTS, f"b-000{n}").rows for n in (1, 2, 3)]
    assert rows == [1, 2, 0]
    assert together.facts(Stage.SEED_COTS, "b-0002").failures == 1
    grades = together.facts(Stage.COT_GRADES, "b-0002").scores["refined"]
    assert grades == {
        metric: [2 * score, 2 * count]
        for metric, (score, count) in alone.facts(Stage.COT_GRADES, "b-0001")
        .scores["refined"]
        .items()
    }


def test_a_damaged_partition_keeps_the_others_from_nobody(tmp_path: Path) -> None:
    lake = a_lake_of_three(tmp_path)
    path = Path(str(lake.rows_path(Stage.SEED_COTS, "b-0002")))
    path.write_bytes(path.read_bytes()[:-20])
    damaged = known(lake, tmp_path)
    assert damaged.facts(Stage.SEED_COTS, "b-0001").rows == 1
    assert damaged.facts(Stage.SEED_COTS, "b-0003").rows == 0
    with pytest.raises(SetupError, match="not a readable Parquet file"):
        damaged.facts(Stage.SEED_COTS, "b-0002")
    # It is looked at again by the next command, and the others are not.
    assert unread(lake, tmp_path) == 1


def test_a_partition_without_its_account_of_failures_has_none(tmp_path: Path) -> None:
    lake = a_lake_of_three(tmp_path)
    Path(str(lake.path(Stage.SEED_COTS, "b-0001", FAILURES))).unlink()
    facts = known(lake, tmp_path).facts(Stage.SEED_COTS, "b-0001")
    assert (facts.rows, facts.failures) == (1, 0)
    assert facts.fingerprint == lake.fingerprint(Stage.SEED_COTS, "b-0001")


@pytest.mark.parametrize("content", [b"no database" * 999, b""])
def test_facts_that_are_damaged_are_read_again(tmp_path: Path, content: bytes) -> None:
    lake = a_made_lake(tmp_path)
    known(lake, tmp_path)
    (tmp_path / "facts.sqlite").write_bytes(content)
    assert known(lake, tmp_path).facts(Stage.SEED_COTS, BATCH).rows == 1


def test_facts_of_another_form_are_read_again(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    known(lake, tmp_path)
    with closing(sqlite3.connect(tmp_path / "facts.sqlite")) as database:
        database.execute("UPDATE facts SET facts = '{\"other\": 1}'")
        database.commit()
    assert known(lake, tmp_path).facts(Stage.SEED_COTS, BATCH).rows == 1


def test_without_a_place_to_write_the_lake_is_read_all_the_same(tmp_path: Path) -> None:
    lake = KnownLake(a_made_lake(tmp_path), tmp_path / "missing" / "facts.sqlite")
    for _ in lake.read_all():
        pass
    assert lake.facts(Stage.SEED_COTS, BATCH).rows == 1


def test_facts_that_are_damaged_in_part_are_kept_anew(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    known(lake, tmp_path)
    file = tmp_path / "facts.sqlite"
    content = file.read_bytes()
    # The first page says that this is a database with these tables.
    file.write_bytes(content[:4096] + b"\x5a" * (len(content) - 4096))
    assert known(lake, tmp_path).facts(Stage.SEED_COTS, BATCH).rows == 1
    assert unread(lake, tmp_path) == 0


def test_a_file_that_is_being_written_is_no_part_of_a_partition(tmp_path: Path) -> None:
    lake = a_made_lake(tmp_path)
    known(lake, tmp_path)
    rows = Path(str(lake.rows_path(Stage.SEED_COTS, BATCH)))
    # As a writer leaves it that was killed.
    rows.with_name(".host-1.rows.parquet").write_bytes(b"PAR1")
    assert unread(lake, tmp_path) == 0
