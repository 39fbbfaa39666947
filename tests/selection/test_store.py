"""The selection in force: what is stored, when it is outdated, and vectors that are kept."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, sft_row
from aidsafe_dagster.recipe.records import FineTuneRow, Message, RefinedCot, Stage
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.resources.warehouse import create_views
from aidsafe_dagster.selection.candidates import read_candidates
from aidsafe_dagster.selection.records import SelectionRow
from aidsafe_dagster.selection.select import Selection, select_rows
from aidsafe_dagster.selection.settings import SelectionFloor, SelectionSettings
from aidsafe_dagster.selection.store import (
    FOLDER,
    read_selection,
    store_selection,
    stored_embeddings,
    train_prompts,
)
from tests.builders import a_refined_cot, policies
from tests.selection.planted import a_planted_lake


def a_lake(folder: Path) -> Lake:
    return a_planted_lake(folder, rows=120, topics=20, batch_size=60).lake


def select(lake: Lake, rows: int) -> Selection:
    settings = SelectionSettings(rows=rows)
    dataset = open_dataset(lake)
    candidates = read_candidates(dataset, policies(), settings.floor, 3.0)
    fingerprints = {
        batch: lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch)
        for batch in dataset.batches
    }
    return select_rows(candidates, settings, fingerprints)


def test_what_is_stored_is_read_again(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    selection = select(lake, 10)
    store_selection(lake, selection)
    stored = read_selection(lake)
    assert stored is not None
    assert (list(stored.rows), stored.facts) == (selection.rows, selection.facts)
    assert len(stored.chosen) == len(stored.drawn) == 10
    assert stored.why_outdated() == ""


def test_the_warehouse_has_the_selection_as_a_view(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    query = "SELECT status, count(*) FROM selection GROUP BY status ORDER BY status"
    with duckdb.connect() as connection:
        create_views(connection, lake)
        assert connection.execute(query).fetchall() == []
        # A view is current without being built again.
        selection = select(lake, 10)
        store_selection(lake, selection)
        counts = dict(connection.execute(query).fetchall())
    assert counts == Counter(row.status for row in selection.rows)


def test_the_selection_before_is_replaced(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    store_selection(lake, select(lake, 10))
    store_selection(lake, select(lake, 5))
    stored = read_selection(lake)
    assert stored is not None
    assert len(stored.chosen) == 5
    assert lake.inner(FOLDER).batches("rows") == [stored.facts.rows_key]


def test_a_conversation_counts_with_its_earlier_turns(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    earlier = (
        Message(role="user", content="How does a lock work?"),
        Message(role="assistant", content="With pins."),
    )
    turns = {"prompt": "And without a key?", "earlier": earlier, "batch": "a-0001"}
    refined = a_refined_cot(**turns)
    row = sft_row(refined, "harmful", SplitSettings(validation=0, test=0))
    lake.store(Stage.REFINED_COTS, "a-0001", [refined], RefinedCot, ())
    lake.store(Stage.FINE_TUNE_SPLITS, "a-0001", [row], FineTuneRow, ())
    dataset = Dataset(lake, frozenset({"a-0001"}), simulated=False, left_out=0)
    candidates = read_candidates(dataset, policies(), SelectionFloor(), 3.0)
    (prompt,) = candidates.rows["prompt"]
    assert prompt == "How does a lock work?\n\nWith pins.\n\nAnd without a key?"


def test_a_process_that_dies_while_it_stores_leaves_the_one_before(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path)
    store_selection(lake, select(lake, 10))
    cut_off = select(lake, 5)
    # What is on the disk when it dies before the facts are written.
    lake.inner(FOLDER).store("rows", cut_off.facts.rows_key, cut_off.rows, SelectionRow)
    stored = read_selection(lake)
    assert stored is not None
    assert len(stored.chosen) == 10


def test_a_batch_that_is_made_again_outdates_it(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    store_selection(lake, select(lake, 10))
    rows = lake.rows(Stage.FINE_TUNE_SPLITS, "planted-0001")
    lake.write(Stage.FINE_TUNE_SPLITS, "planted-0001", rows.head(20))
    stored = read_selection(lake)
    assert stored is not None
    assert "planted-0001 (`aidsafe select`)" in stored.why_outdated()
    with pytest.raises(SetupError, match="does not fit: made again or forgotten"):
        train_prompts(lake, "selected", ["planted-0001", "planted-0002"])


def test_a_selection_is_of_the_batches_that_it_was_made_from(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    with pytest.raises(SetupError, match="nothing has been selected yet"):
        train_prompts(lake, "selected", ["planted-0001"])
    store_selection(lake, select(lake, 10))
    with pytest.raises(SetupError, match="other batches as well: planted-0002"):
        train_prompts(lake, "selected", ["planted-0001"])
    with pytest.raises(SetupError, match="Did you mean 'selected'"):
        train_prompts(lake, "select", ["planted-0001"])
    assert train_prompts(lake, "all", ["planted-0001"]) is None


def test_no_other_reader_of_the_lake_meets_a_selection(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    before = lake.tables()
    store_selection(lake, select(lake, 10))
    assert lake.tables() == before


def test_a_prompt_is_embedded_once_by_each_model(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> NDArray[Any]:
        asked.extend(texts)
        return np.array([[float(len(text)), 1.0] for text in texts])

    def rows(count: int) -> pl.DataFrame:
        numbers = range(count)
        return pl.DataFrame(
            {
                "batch": [f"a-000{number % 2 + 1}" for number in numbers],
                "prompt_id": [f"p{number}" for number in numbers],
                "prompt": ["x" * number for number in numbers],
            }
        )

    first = stored_embeddings(lake, rows(4), embed, "one")
    assert first[:, 0].tolist() == [0, 1, 2, 3]
    assert len(asked) == 4
    more = stored_embeddings(lake, rows(6), embed, "one")
    assert more[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(asked) == 6
    stored_embeddings(lake, rows(6), embed, "two")
    assert len(asked) == 12
