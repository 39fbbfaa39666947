"""A batch or a source taken back, and what is left of it."""

import signal
from pathlib import Path

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.runs.locks import batch_lock
from aidsafe_dagster.stages.gates import read_gate
from tests.faults.forks import forked, printed_by
from tests.site import Site, a_copy_of, aidsafe, prompts_file, some_prompts

BATCH = "mine-0001"


def materialized(site: Site) -> set[str]:
    found: set[str] = set()
    for stage in always_made():
        found |= site.instance.get_materialized_partitions(dg.AssetKey(str(stage)))
    return found


def test_a_forgotten_source_is_gone_everywhere_and_can_be_ingested_anew(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        refused = aidsafe(site.folder, "forget", "mien", "--yes")
        assert "Did you mean 'mine'?" in refused.stdout
        outcome = aidsafe(site.folder, "forget", "mine", "--yes")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert site.batches == []
        tables = [site.lake.batches(table) for table in site.lake.tables()]
        assert not any(tables)
        assert materialized(site) == set()
        source = prompts_file(site.folder, some_prompts(10))
        assert site.ingest(source).success
        assert site.batches == [BATCH]


def test_a_question_comes_first_and_no_is_an_answer(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        outcome = aidsafe(site.folder, "forget", BATCH)
        assert outcome.returncode == 1
        assert "refined_cots" in outcome.stdout
        assert site.lake.batches(Stage.REFINED_COTS) == [BATCH]


def test_what_holds_rows_and_stays_is_named_once_a_folder(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        for form, out in (("jsonl", "out/lines"), ("parquet", "out/columns")):
            options = ("--out", out, "--as", form, "--allow-simulated")
            assert aidsafe(site.folder, "export", *options).returncode == 0
        (site.folder / "other.json").write_text('{"prompt_id": "0123456789abcdef"}')
        told = " ".join(aidsafe(site.folder, "forget", BATCH).stdout.split())
        for folder in ("out/lines", "out/columns"):
            assert told.count(f"in {folder} ") == 1
        assert "other.json" not in told


def test_a_batch_that_a_run_works_on_is_refused(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        with batch_lock(BATCH, site.settings).hold("run 1234"):
            outcome = aidsafe(site.folder, "forget", BATCH, "--yes")
        assert outcome.returncode == 2
        assert "in use" in outcome.stdout
        assert site.lake.batches(Stage.REFINED_COTS) == [BATCH]


def test_a_batch_that_is_half_forgotten_says_so_and_is_taken_by_nothing(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        place = ("aidsafe_dagster.lake.lake:Lake.remove", 3)
        with forked(site.folder, "forget", BATCH, "--yes", dies_at=place) as process:
            process.join(120)
            assert process.exitcode == -signal.SIGKILL, printed_by(site.folder, process)
        assert materialized(site) == set()
        status = aidsafe(site.folder, "status").stdout
        assert f"aidsafe forget {BATCH} removes the rest" in status
        gate = read_gate(site.instance, site.lake, Stage.REFINED_COTS, BATCH)
        assert not gate.open
        assert "half forgotten" in str(gate)
        run = site.make(BATCH)
        assert "half forgotten" in run.error
        exported = aidsafe(site.folder, "export", "--out", "out", "--allow-simulated")
        assert exported.returncode != 0
        outcome = aidsafe(site.folder, "forget", BATCH, "--yes")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert "Half forgotten" not in aidsafe(site.folder, "status").stdout
        assert not any(site.lake.batches(table) for table in site.lake.tables())


def test_a_removal_that_was_cut_off_is_finished_by_the_next(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        # As a kill leaves it: the prompts are gone, and the partition's key is not.
        for table in ("ingested", "sealed_copies", "fine_tune_splits"):
            site.lake.remove(table, BATCH)
        outcome = aidsafe(site.folder, "forget", "mine", "--yes")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert site.batches == []
        assert not any(site.lake.batches(table) for table in site.lake.tables())
