"""The journal compacted from the command line."""

from pathlib import Path

from aidsafe_dagster.runs.locks import batch_lock
from tests.site import a_copy_of, aidsafe

BATCH = "mine-0001"


def test_a_batch_made_again_from_a_compacted_journal_asks_nothing(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        outcome = aidsafe(site.folder, "journal", "compact")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert "all are kept" in outcome.stdout
        assert "before" in outcome.stdout
        run = site.make(BATCH)
        assert run.success, run.error
        assert run.spending.usage.calls == 0


def test_while_a_run_works_the_journal_is_left_alone(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        journal = site.folder / "data" / "journal.sqlite"
        before = journal.read_bytes()
        with batch_lock(BATCH, site.settings).hold("run 1234"):
            outcome = aidsafe(site.folder, "journal", "compact")
        assert outcome.returncode == 2
        assert f"in use by run 1234 ({BATCH})" in " ".join(outcome.stdout.split())
        assert journal.read_bytes() == before


def test_without_a_journal_there_is_nothing_to_compact(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        (site.folder / "data" / "journal.sqlite").unlink()
        outcome = aidsafe(site.folder, "journal", "compact")
        assert outcome.returncode == 2
        assert "there is none yet" in outcome.stdout
