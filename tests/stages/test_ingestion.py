"""Ingestion through its Dagster job: append-only, accounted for, and healed after a crash."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt, Stage
from aidsafe_dagster.sources.tables import COPIES, INGESTED
from tests.site import Site, a_site, prompts_file, some_prompts

BICYCLE = "Please tell me how to repair the chain of an old red bicycle at home with few tools"


def test_the_bundled_prompts_are_ingested_with_source_and_licence(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        assert site.ingest().success
        rows = site.lake.all_rows("ingested")
        assert rows is not None
        assert rows.height >= 300
        assert set(rows["licence"]) == {"MIT", "Apache-2.0"}
        assert set(rows["source"]) == {
            "catqa",
            "harmfulqa",
            "hh_red_team",
            "self_instruct",
        }
        assert rows["prompt_id"].n_unique() == rows.height


def test_ingesting_the_same_source_again_changes_nothing(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        source = prompts_file(tmp_path, [*some_prompts(5), some_prompts(1)[0]])
        site.ingest(source)
        before = site.lake.fingerprint("ingested", "mine-0001")
        assert site.ingest(source).success
        assert site.batches == ["mine-0001"]
        assert site.lake.fingerprint("ingested", "mine-0001") == before
        assert site.lake.batches("dropped_prompts") == ["ingest-0001"]


def test_new_prompts_make_new_batches_and_leave_the_old_ones_as_they_are(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, ingest={"batch_size": 4}) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(6)))
        before = [site.lake.fingerprint("ingested", batch) for batch in site.batches]
        site.ingest(prompts_file(tmp_path, some_prompts(9)))
        assert site.batches == ["mine-0001", "mine-0002", "mine-0003"]
        assert [
            site.lake.fingerprint("ingested", batch) for batch in site.batches[:2]
        ] == before
        new = from_frame(site.lake.rows("ingested", "mine-0003"), Prompt)
        assert [row.prompt for row in new] == some_prompts(9)[6:]


def test_a_new_prompt_joins_the_cluster_of_an_older_one_whose_row_does_not_change(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, ingest={"batch_size": 2}) as site:
        site.ingest(prompts_file(tmp_path, [BICYCLE, "Bread"]))
        before = site.lake.fingerprint("ingested", "mine-0001")
        run = site.ingest(
            prompts_file(
                tmp_path,
                [
                    BICYCLE,
                    "Bread",
                    f"{BICYCLE} while it snows and storms outside",
                    "Jazz",
                ],
            )
        )
        first, *_ = from_frame(site.lake.rows("ingested", "mine-0001"), Prompt)
        near, other = from_frame(site.lake.rows("ingested", "mine-0002"), Prompt)
        assert (first.cluster, near.cluster, other.cluster) == (
            first.prompt_id,
            first.prompt_id,
            other.prompt_id,
        )
        assert site.lake.fingerprint("ingested", "mine-0001") == before
        assert run.metadata["new_clusters"].value == 1


def test_prompts_of_an_older_release_are_clusters_of_their_own_that_new_ones_join(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        site.ingest(prompts_file(tmp_path, [BICYCLE]))
        older = site.lake.rows("ingested", "mine-0001").drop("cluster", "near_clusters")
        site.lake.write("ingested", "mine-0001", older)
        assert (
            site.ingest(
                prompts_file(
                    tmp_path, [BICYCLE, f"{BICYCLE} while it snows and storms outside"]
                )
            ).error
            == ""
        )
        assert (
            site.ingest(
                prompts_file(tmp_path, [BICYCLE, "Something else"], name="more")
            ).error
            == ""
        )
        (new,) = from_frame(site.lake.rows("ingested", "mine-0002"), Prompt)
        assert new.cluster == older["prompt_id"][0]


def test_what_was_dropped_is_kept_with_its_place_and_reason(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        long = f"{BICYCLE} in one hour today"
        site.ingest(
            prompts_file(tmp_path, ["Same?", "Same?", "  ", long, f"{long} please"])
        )
        dropped = site.lake.all_rows("dropped_prompts")
        assert dropped is not None
        assert dropped.select("source_row", "reason").rows() == [
            ("mine.jsonl row 2", "duplicate"),
            ("mine.jsonl row 3", "no_prompt"),
            ("mine.jsonl row 5", "near_duplicate"),
        ]


def test_a_batch_whose_registration_a_crash_prevented_is_registered_next_time(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        source = prompts_file(tmp_path, some_prompts(3))
        site.ingest(source)
        site.instance.delete_dynamic_partition("batches", "mine-0001")
        site.ingest(source)
        assert site.batches == ["mine-0001"]


def test_a_source_that_cannot_be_read_fails_the_run_with_words_and_changes_nothing(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        run = site.ingest(
            {"name": "mine", "path": str(tmp_path / "nowhere.csv"), "licence": "MIT"}
        )
        assert not run.success
        assert "nowhere.csv" in run.error
        assert site.batches == []


def sealed_file(site: Site, batch: str, table: str = INGESTED) -> Path:
    return Path(str(site.lake.rows_path(table, batch)))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def remove_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


@pytest.mark.parametrize("damage", [cut, Path.unlink, remove_folder])
def test_ingesting_again_restores_a_damaged_or_lost_batch_with_its_key_and_rows(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    with a_site(tmp_path, ingest={"batch_size": 3}) as site:
        source = prompts_file(tmp_path, some_prompts(8))
        site.ingest(source)
        before = [site.lake.fingerprint(INGESTED, batch) for batch in site.batches]
        damage(sealed_file(site, "mine-0002"))
        run = site.ingest(source)
        assert run.success, run.error
        assert run.metadata["restored"].value == ["mine-0002"]
        assert run.metadata["new_prompts"].value == 0
        assert site.batches == ["mine-0001", "mine-0002", "mine-0003"]
        assert [
            site.lake.fingerprint(INGESTED, batch) for batch in site.batches
        ] == before


def test_making_a_batch_whose_sealed_file_is_damaged_puts_it_back(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
        before = site.lake.fingerprint(INGESTED, "mine-0001")
        cut(sealed_file(site, "mine-0001"))
        with pytest.raises(
            SetupError,
            match="ingest its source again, which restores the batch",
        ):
            site.lake.rows(INGESTED, "mine-0001")
        run = run_job(
            site.instance, "make_batch", partition="mine-0001", stages=[Stage.PROMPTS]
        )
        assert run.success, run.error
        assert site.lake.fingerprint(INGESTED, "mine-0001") == before


def test_a_damaged_copy_and_one_that_an_older_release_did_not_make_are_made_by_the_next_ingestion(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, ingest={"batch_size": 2}) as site:
        source = prompts_file(tmp_path, some_prompts(4))
        site.ingest(source)
        cut(sealed_file(site, "mine-0001", COPIES))
        remove_folder(sealed_file(site, "mine-0002", COPIES))
        assert site.ingest(source).success
        for batch in site.batches:
            assert site.lake.fingerprint(COPIES, batch) == site.lake.fingerprint(
                INGESTED, batch
            )


def test_without_a_whole_copy_a_damaged_batch_stops_the_ingestion_and_says_what_can_be_done(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        source = prompts_file(tmp_path, some_prompts(3))
        site.ingest(source)
        for table in (INGESTED, COPIES):
            cut(sealed_file(site, "mine-0001", table))
        run = site.ingest(source)
        assert not run.success
        assert str(sealed_file(site, "mine-0001")) in run.error
        assert "from a backup" in run.error
        for table in (INGESTED, COPIES):
            remove_folder(sealed_file(site, "mine-0001", table))
        site.instance.delete_dynamic_partition("batches", "mine-0001")
        assert site.ingest(source).metadata["new_prompts"].value == 3


def test_an_account_of_dropped_rows_that_was_removed_is_written_anew_over_no_other(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        for texts in (["Same?", "Same?"], ["Same?", "Same?", " "]):
            site.ingest(prompts_file(tmp_path, texts))
        remove_folder(sealed_file(site, "ingest-0001", "dropped_prompts"))
        site.ingest(prompts_file(tmp_path, ["Same?", "Same?", " "]))
        dropped = site.lake.all_rows("dropped_prompts")
        assert dropped is not None
        assert sorted(dropped["reason"]) == ["duplicate", "no_prompt"]
