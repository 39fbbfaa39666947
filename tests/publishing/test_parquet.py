"""Published Parquet: rows survive the round trip, and an added batch uploads little."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hf_xet
import pyarrow.parquet as pq

from aidsafe_dagster.publishing.parquet import DataFile, Shards, data_file
from aidsafe_dagster.recipe.formats import FORMATS

COLUMNS = FORMATS["trl-sft"].columns


def rows(count: int, seed: str = "a", words: int = 20) -> list[dict[str, Any]]:
    """Distinct rows, deterministic for a seed; their words hardly compress."""
    generator = random.Random(seed)
    return [
        {
            "messages": [
                {"role": "user", "content": f"{seed} {n}"},
                {"role": "assistant", "content": "Yes."},
            ],
            "thinking": " ".join(
                f"{generator.getrandbits(32):x}" for _ in range(words)
            ),
            "response": "Yes.",
            "prompt_id": f"{seed}{n}",
            "batch": "demo-0001",
            "recipe": "0123456789ab",
            "own_id": "",
            "generation": 1,
            "adapters": "",
            "derivation": "",
            "derived_from": "",
        }
        for n in range(count)
    ]


def shards(folder: Path, shard_bytes: int = 1 << 30) -> Shards:
    return Shards(folder, "data/sft/train", COLUMNS, "inline", shard_bytes)


def write(
    folder: Path, *parts: list[dict[str, Any]], shard_bytes: int = 1 << 30
) -> tuple[list[DataFile], str]:
    writer = shards(folder, shard_bytes)
    for part in parts:
        writer.add(part)
    return writer.close(), writer.content


def read(folder: Path, files: Iterable[DataFile]) -> list[dict[str, Any]]:
    table_rows = list[dict[str, Any]]()
    for file in files:
        table_rows += pq.read_table(folder / file.path).to_pylist()
    return table_rows


def test_rows_survive_the_round_trip(tmp_path: Path) -> None:
    files, _ = write(tmp_path, rows(3), rows(2, "b"))
    assert [(file.path, file.rows) for file in files] == [
        ("data/sft/train-00000-of-00001.parquet", 5)
    ]
    assert read(tmp_path, files) == rows(3) + rows(2, "b")
    assert files == [data_file(tmp_path, files[0].path, 5)]


def test_a_full_file_is_followed_by_another_one(tmp_path: Path) -> None:
    first, second, third = (rows(2, seed, words=300) for seed in "abc")
    files, _ = write(tmp_path, first, second, third, shard_bytes=8_000)
    assert [file.path.rpartition("/")[2] for file in files] == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    assert read(tmp_path, files) == first + second + third
    names = sorted(path.name for path in (tmp_path / "data/sft").iterdir())
    assert names == [Path(file.path).name for file in files]


def test_without_rows_there_is_no_file(tmp_path: Path) -> None:
    assert write(tmp_path, [])[0] == []


def test_the_same_rows_give_the_same_bytes_and_the_same_hash(tmp_path: Path) -> None:
    one, content = write(tmp_path / "one", rows(4))
    other, same = write(tmp_path / "other", rows(4)[:1], rows(4)[1:])
    assert content == same
    assert [file.sha256 for file in one] == [file.sha256 for file in other]
    assert write(tmp_path / "third", rows(4)[::-1])[1] != content


def test_the_reasoning_field_is_in_the_schema_even_if_no_row_fills_it(
    tmp_path: Path,
) -> None:
    writer = Shards(tmp_path, "data/sft/train", COLUMNS, "field", 1 << 30)
    writer.add(rows(1))
    (file,) = writer.close()
    (row,) = pq.read_table(tmp_path / file.path).to_pylist()
    assert [message["reasoning_content"] for message in row["messages"]] == [None, None]


def test_a_batch_added_in_the_middle_uploads_less_than_half_of_the_file(
    tmp_path: Path,
) -> None:
    batches = [rows(150, seed, words=500) for seed in "abcdefghijklmnopqrstuvwxyz"]
    (before,), _ = write(tmp_path / "before", *batches[:9], *batches[10:])
    (after,), _ = write(tmp_path / "after", *batches)
    store = tmp_path / "store"
    store.mkdir()
    upload(tmp_path / "before" / before.path, store)
    size_before = size(store)
    upload(tmp_path / "after" / after.path, store)
    assert size(store) - size_before < size_before / 2


def upload(file: Path, store: Path) -> None:
    """Upload as the Hub's client does, to a store on this disk."""
    with hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}") as commit:
        commit.start_upload_file(str(file), sha256=hf_xet.COMPUTE_SHA256)


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
