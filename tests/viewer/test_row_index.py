"""The index follows the lake, and anything in it may be damaged or of another release."""

from pathlib import Path

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.viewer.batch_rows import batch_rows, read_tables
from aidsafe_dagster.viewer.catalogue import Catalogue
from aidsafe_dagster.viewer.filters import Filters
from aidsafe_dagster.viewer.row_index import ROW_INDEX, RowIndex
from tests.lake.releases import BATCH as OLD_BATCH
from tests.lake.releases import RELEASED, each_layout
from tests.reports.builders import BATCH
from tests.viewer.lakes import TEXTS, a_full_lake


def ids(index: RowIndex, **filters: str) -> list[str]:
    page = Catalogue(index).page(Filters(**filters))
    return [row.facts["prompt_id"] for row in page.rows]


def refreshed(lake: Lake, folder: Path) -> RowIndex:
    index = RowIndex(lake, folder)
    index.refresh()
    return index


def test_every_prompt_has_a_row_with_what_became_of_it(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    rows = batch_rows(read_tables(lake, BATCH), BATCH)
    states = dict(rows.select("prompt_id", "state").iter_rows())
    assert states == {
        "aa11": "complete",
        "aa22": "complete",
        "bb33": "left out",
        "cc44": "failed",
        "dd55": "waiting",
    }
    first = rows.row(0, named=True)
    assert first["policies"] == ["helpfulness", "illegal"]
    assert first["verdicts"] == ["keep", "keep", "redundant"]
    assert first["splits"] == ["train dpo", "train sft"]
    # Five stages of two calls each.
    assert (first["calls"], first["policy_score"]) == (12, 5.0)
    assert dict(rows.select("prompt_id", "language").iter_rows())["aa22"] == "zh"
    assert dict(rows.select("prompt_id", "language").iter_rows())["bb33"] == "ar"


def test_a_text_stands_once_with_all_its_places(tmp_path: Path) -> None:
    index = refreshed(a_full_lake(tmp_path), tmp_path)
    texts = Catalogue(index).texts([BATCH], ["aa11"])
    assert texts["text"].n_unique() == texts.height
    places = dict(texts.select("text", "place").iter_rows())
    assert places[TEXTS["aa11"]] == "prompts prompt"
    assert places["Sets out the case."] == "refined_cots judgements"
    belief = [place for text, place in places.items() if "Hirngespinst" in text]
    assert belief == ["belief_candidates belief"]


def test_a_batch_that_is_new_changed_or_taken_back_is_noticed(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    index = refreshed(lake, tmp_path)
    assert len(ids(index)) == len(TEXTS)
    a_full_lake(tmp_path, "demo-0002")
    index.refresh()
    assert len(ids(index, batch="demo-0002")) == len(TEXTS)
    rows = lake.rows("ingested", BATCH)
    lake.write("ingested", BATCH, rows.filter(prompt_id="aa11"))
    for stage in ("seed_cots", "deliberated_cots", "refined_cots", "prompts"):
        lake.remove(stage, BATCH)
    for stage in ("cot_grades", "preference_pairs", "fine_tune_splits"):
        lake.remove(stage, BATCH)
    index.refresh()
    assert ids(index, batch=BATCH) == ["aa11"]
    for table in lake.tables():
        lake.remove(table, "demo-0002")
    index.refresh()
    assert ids(index) == ["aa11"]


def test_a_later_process_takes_over_what_is_indexed(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    refreshed(lake, tmp_path)
    written = lake.rows_path(ROW_INDEX, BATCH).stat().st_mtime_ns
    index = refreshed(lake, tmp_path)
    assert len(ids(index, q="Hirngespinst")) == 1
    assert lake.rows_path(ROW_INDEX, BATCH).stat().st_mtime_ns == written


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    refreshed(lake, tmp_path)
    Path(str(lake.rows_path(ROW_INDEX, BATCH))).write_bytes(b"torn")
    assert len(ids(refreshed(lake, tmp_path))) == len(TEXTS)


def test_an_index_of_a_batch_that_is_gone_is_removed(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    refreshed(lake, tmp_path)
    for table in set(lake.tables()) - {ROW_INDEX}:
        lake.remove(table, BATCH)
    assert ids(refreshed(lake, tmp_path)) == []
    assert lake.batches(ROW_INDEX) == []


def test_a_damaged_partition_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    Path(str(lake.rows_path("refined_cots", BATCH))).write_bytes(b"PAR1 torn PAR1")
    index = refreshed(lake, tmp_path)
    (problem,) = index.problems[BATCH]
    assert "refined_cots" in problem
    assert len(ids(index)) == len(TEXTS)
    a_full_lake(tmp_path)
    index.refresh()
    assert index.problems == {}


def test_who_cannot_write_the_lake_can_read_all_of_it(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    # No folder can be made where a file is.
    (tmp_path / "lake" / ROW_INDEX).write_text("")
    index = refreshed(lake, tmp_path)
    assert ids(index, q="Hirngespinst") == ["aa11"]
    index.close()


def test_the_index_of_a_lake_elsewhere_is_kept_here(tmp_path: Path) -> None:
    local = a_full_lake(tmp_path / "far")
    far = Lake("memory://lake-to-view")
    for table in local.tables():
        content = local.rows_path(table, BATCH).read_bytes()
        far.rows_path(table, BATCH).parent.mkdir(parents=True, exist_ok=True)
        far.rows_path(table, BATCH).write_bytes(content)
    index = refreshed(far, tmp_path / "here")
    assert ids(index, q="Hirngespinst") == ["aa11"]
    assert Lake(tmp_path / "here").batches(ROW_INDEX) == [BATCH]
    index.refresh()
    assert index.generation == 1


@each_layout
def test_lakes_of_earlier_releases_are_indexed(layout: str) -> None:
    lake = Lake(RELEASED / layout / "lake")
    tables = read_tables(lake, OLD_BATCH)
    rows = batch_rows(tables, OLD_BATCH)
    assert tables.problems == []
    assert rows["prompt_id"].n_unique() == rows.height > 0
    assert rows["prompt"].null_count() == 0
