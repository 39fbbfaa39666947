import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of, to_frame
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, Prompt, Record, RefinedCot
from tests.builders import a_failure, a_prompt, a_refined_cot
from tests.site import ROOT

WRITER = """
import random, sys
import polars as pl
from aidsafe_dagster.lake.lake import Lake

def version(n):
    noise = random.Random(n)
    blobs = [noise.randbytes(200_000) for _ in range(20)]
    return pl.DataFrame({"version": [n] * 20, "noise": blobs})

versions = [version(n) for n in range(2)]
for n in range(10_000):
    print(n, flush=True)
    Lake(sys.argv[1]).write("prompts", "b-0001", versions[n % 2])
"""
DIES_WRITING_ROWS = """
import resource, signal, sys
import polars as pl
from aidsafe_dagster.lake.lake import Lake
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
rows = pl.DataFrame({"text": [str(hash(str(n))) for n in range(100_000)]})
Lake(sys.argv[1]).write("prompts", "b-0001", rows, pl.DataFrame({"reason": ["new"]}))
"""


def prompts(*texts: str) -> pl.DataFrame:
    return to_frame([a_prompt(prompt=text) for text in texts], Prompt)


def texts(lake: Lake, batch: str) -> list[str]:
    return lake.rows("prompts", batch)["prompt"].to_list()


def start_python(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("kind", ["path", "string", "memory", "file"])
def test_what_is_written_is_read_back_on_any_store(tmp_path: Path, kind: str) -> None:
    roots: dict[str, Path | str] = {
        "path": tmp_path / "a lake [1]",
        "string": str(tmp_path / "it's 100%"),
        "memory": f"memory://{uuid4().hex}/lake",
        "file": f"file://{tmp_path}/lake",
    }
    lake = Lake(roots[kind])
    assert (
        lake.batches("prompts"),
        lake.all_rows("prompts"),
        lake.has("prompts", "b-0001"),
    ) == (
        [],
        None,
        False,
    )
    failures = to_frame([a_failure()], Failure)
    lake.write("prompts", "b-0002", prompts("zwei", "drei"), failures)
    lake.write("prompts", "b-0001", prompts("eins"))
    assert lake.rows("prompts", "b-0002").equals(prompts("zwei", "drei"))
    assert lake.failures("prompts", "b-0002").equals(failures)
    assert lake.batches("prompts") == ["b-0001", "b-0002"]
    assert Lake(roots[kind]).has("prompts", "b-0001")
    rows = lake.all_rows("prompts", ["prompt"])
    assert rows is not None
    assert rows.to_dict(as_series=False) == {"prompt": ["eins", "zwei", "drei"]}


def test_a_batch_without_failures_has_none_in_the_right_columns(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("prompts", "b-0001", prompts("eins"))
    assert lake.failures("prompts", "b-0001").schema == schema_of(Failure)
    assert (
        lake.failures("prompts", "b-0001").height
        == lake.failures("prompts", "b-0002").height
        == 0
    )


def test_failures_lie_beside_the_rows_and_are_no_rows(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("prompts", "b-0001", prompts("eins"), to_frame([a_failure()], Failure))
    assert (lake.rows_path("prompts", "b-0001").parent / "failures.parquet").exists()
    assert texts(lake, "b-0001") == ["eins"]


def test_a_schema_without_rows_is_no_batch(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.ensure_schema("prompts", Prompt)
    assert lake.batches("prompts") == []
    assert pl.read_parquet(
        tmp_path / "prompts" / "_schema" / "rows.parquet"
    ).schema == schema_of(Prompt)


def test_a_schema_follows_its_record(tmp_path: Path) -> None:
    class Older(Record):
        prompt: str

    lake = Lake(tmp_path)
    for record in (Older, Prompt):
        lake.ensure_schema("prompts", record)
        assert pl.read_parquet(
            tmp_path / "prompts" / "_schema" / "rows.parquet"
        ).schema == schema_of(record)


def test_a_batch_that_was_not_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError, match="batch 'b-0001' of 'prompts' has not been made yet"
    ):
        Lake(tmp_path).rows("prompts", "b-0001")


@pytest.mark.parametrize(
    "key",
    [
        "..",
        "../b-0001",
        "a/../../b",
        "a/b",
        "/etc",
        "a..b",
        ".hidden",
        "-rf",
        "",
        "a b",
        "a\n",
        "a\0",
        "a=b",
        "ü",
        "a" * 101,
    ],
)
def test_a_key_that_could_leave_the_lake_is_refused(tmp_path: Path, key: str) -> None:
    lake = Lake(tmp_path / "lake")
    for use in (
        lambda: lake.write("prompts", key, prompts("eins")),
        lambda: lake.rows("prompts", key),
    ):
        with pytest.raises(SetupError, match="is not a batch key"):
            use()
    assert list(tmp_path.rglob("*.parquet")) == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"PAR1", b"not parquet at all", None],
    ids=["empty", "short", "text", "cut"],
)
@pytest.mark.parametrize("name", ["rows.parquet", "failures.parquet"])
def test_a_damaged_file_is_named_with_what_to_do(
    tmp_path: Path, name: str, damage: bytes | None
) -> None:
    lake = Lake(tmp_path)
    lake.write("prompts", "b-0001", prompts("eins"), to_frame([a_failure()], Failure))
    file = tmp_path / "prompts" / "batch=b-0001" / name
    file.write_bytes(file.read_bytes()[:-9] if damage is None else damage)
    read = lake.rows if name == "rows.parquet" else lake.failures
    with pytest.raises(SetupError, match="not a readable Parquet file") as raised:
        read("prompts", "b-0001")
    assert str(file) in str(raised.value)
    assert "make the batch again" in str(raised.value)


def test_a_fingerprint_changes_with_the_rows_and_with_the_failures_alone(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path)
    fingerprints = [lake.fingerprint("prompts", "b-0001")]
    for rows, failures in (
        (prompts("eins"), None),
        (prompts("zwei"), None),
        (prompts("zwei"), to_frame([], Failure)),
        (prompts("zwei"), to_frame([a_failure()], Failure)),
        (prompts("zwei"), to_frame([a_failure(detail="other")], Failure)),
    ):
        lake.write("prompts", "b-0001", rows, failures)
        fingerprints.append(lake.fingerprint("prompts", "b-0001"))
    assert len(set(fingerprints)) == len(fingerprints)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for lake in (Lake(tmp_path / "one"), Lake(tmp_path / "two")):
        lake.write(
            "prompts",
            "b-0001",
            prompts("eins", "zwei"),
            to_frame([a_failure()], Failure),
        )
        files = sorted((Path(str(lake.root)) / "prompts" / "batch=b-0001").iterdir())
        written.append([file.read_bytes() for file in files])
    assert len(written[0]) == 2
    assert written[0] == written[1]
    assert Lake(tmp_path / "one").fingerprint("prompts", "b-0001") == Lake(
        tmp_path / "two"
    ).fingerprint("prompts", "b-0001")


@pytest.mark.parametrize("milliseconds", range(6, 12))
def test_kill_9_of_a_writer_leaves_a_whole_file_and_no_obstacle(
    tmp_path: Path, milliseconds: int
) -> None:
    with start_python(WRITER, str(tmp_path)) as writer:
        assert writer.stdout is not None
        for _ in range(4):
            writer.stdout.readline()
        time.sleep(milliseconds / 1000)
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    lake = Lake(tmp_path)
    survivors = lake.rows("prompts", "b-0001")
    assert (survivors.height, survivors["version"].n_unique()) == (20, 1)
    assert lake.batches("prompts") == ["b-0001"]
    lake.write("prompts", "b-0001", prompts("eins"))
    assert texts(lake, "b-0001") == ["eins"]


def test_a_writer_that_dies_halfway_through_the_rows_leaves_the_old_ones(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path)
    lake.write("prompts", "b-0001", prompts("old"))
    with start_python(DIES_WRITING_ROWS, str(tmp_path)) as writer:
        writer.wait()
    assert writer.returncode == -signal.SIGXFSZ
    assert texts(lake, "b-0001") == ["old"]


def test_rows_never_appear_before_the_account_of_those_that_are_missing(
    tmp_path: Path,
) -> None:
    with start_python(DIES_WRITING_ROWS, str(tmp_path)) as writer:
        writer.wait()
    lake = Lake(tmp_path)
    assert not lake.has("prompts", "b-0001")
    assert lake.failures("prompts", "b-0001")["reason"].to_list() == ["new"]


def test_batches_of_an_older_release_have_nulls_in_the_columns_it_did_not_write(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path)
    newer = to_frame([a_refined_cot(prompt_id="new")], RefinedCot)
    thoughts = pl.col("thoughts").list.eval(
        pl.struct(pl.element().struct.field("text", "rules"))
    )
    older = newer.with_columns(thoughts, prompt_id=pl.lit("old")).drop("near_clusters")
    lake.write("refined_cots", "b-0001", older)
    lake.write("refined_cots", "b-0002", newer)
    rows = lake.all_rows("refined_cots")
    assert rows is not None
    assert rows.schema == newer.schema
    assert rows.filter(prompt_id="new").equals(newer)
    columns = lake.all_rows("refined_cots", ["near_clusters", "prompt_id"])
    assert columns is not None
    assert columns.columns == ["near_clusters", "prompt_id"]
    assert columns["near_clusters"].to_list() == [None, []]


def test_a_column_that_no_batch_has_yet_is_null(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("prompts", "b-0001", prompts("eins").drop("cluster"))
    rows = lake.all_rows("prompts", ["cluster"])
    assert rows is not None
    assert rows["cluster"].to_list() == [None]
