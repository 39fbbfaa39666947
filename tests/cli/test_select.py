"""`aidsafe select`, and where the selected rows go: the report, the dataset, an export."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.selection.store import StoredSelection, read_selection
from tests.engines.test_embeddings import an_embedding_server
from tests.site import NO_FAULTS, Site, a_site, aidsafe, prompts_file, some_prompts

WANTED = 4


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project of one finished batch; nothing is selected yet."""
    folder = tmp_path_factory.mktemp("select")
    settings = {
        "pairs": {"iterations": 1, "candidates": 1},
        "publish": {"licence": "MIT"},
        "rehearsal": NO_FAULTS,
    }
    with a_site(folder, **settings) as site:
        assert site.ingest(prompts_file(folder, some_prompts(16))).success
        run = site.make("mine-0001")
        assert run.success, run.error
        yield site


@pytest.fixture(scope="module")
def printed(site: Site) -> str:
    """What the command prints at 80 columns, once rows are selected."""
    command = ("select", "-n", str(WANTED))
    outcome = aidsafe(site.folder, *command, COLUMNS="80")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


def selection_of(site: Site) -> StoredSelection:
    selection = read_selection(site.lake)
    assert selection is not None
    return selection


def test_the_tables_fit_a_terminal_and_say_what_was_taken(
    site: Site, printed: str
) -> None:
    assert max(map(len, printed.splitlines())) <= 80
    facts = selection_of(site).facts
    assert facts.chosen == WANTED
    assert f"Selection {facts.version}: {WANTED} of {WANTED} rows wanted" in printed
    for part in ("REHEARSAL", "Where the prompts went", "stood back for others"):
        assert part in printed
    for dimension in ("policy", "kind", "source", "language"):
        assert f"\n {dimension} " in printed
    # A name that is cut off cannot be copied into the settings.
    assert "respect_and_helpfulness" in printed
    assert "Beside a random draw" in printed


def test_the_same_command_selects_the_same_rows(site: Site, printed: str) -> None:
    before = selection_of(site)
    rows = list(before.rows)
    assert aidsafe(site.folder, "select", "-n", str(WANTED)).returncode == 0
    again = selection_of(site)
    assert (list(again.rows), again.facts) == (rows, before.facts)


def test_why_tells_what_became_of_a_prompt(site: Site, printed: str) -> None:
    selection = selection_of(site)
    chosen = next(iter(selection.chosen.values()))
    outcome = aidsafe(site.folder, "select", "--why", chosen.prompt_id[:10])
    assert outcome.stdout.startswith(f"{chosen.prompt_id}: chosen, number 1: ")
    assert chosen.why in outcome.stdout
    other = next(row for row in selection.rows if row.status != "chosen")
    outcome = aidsafe(site.folder, "select", "--why", other.prompt_id)
    assert f"{other.prompt_id}: not chosen: {other.why}" in outcome.stdout
    assert aidsafe(site.folder, "select", "--why", "nothing").returncode == 2


def test_fewer_rows_than_wanted_are_explained(site: Site, printed: str) -> None:
    outcome = aidsafe(site.folder, "select", "-n", "500")
    assert outcome.returncode == 0
    assert "Fewer than wanted, as no other row is left:" in outcome.stdout
    aidsafe(site.folder, "select", "-n", str(WANTED))


def test_page_and_rows_are_written_with_every_reason(site: Site, printed: str) -> None:
    page = (site.settings.reports / "selection.md").read_text()
    assert "The first chosen rows" in page
    rows = pl.read_parquet(site.settings.reports / "selection.parquet")
    assert rows.filter(status="chosen").height == WANTED
    assert rows.filter(pl.col("why") == "").is_empty()


def test_the_quality_report_has_a_section(site: Site, printed: str) -> None:
    assert run_job(site.instance, "build_reports").success
    page = (site.settings.reports / "quality_report.md").read_text()
    assert "## The best rows" in page
    assert selection_of(site).facts.version in page


def test_the_dataset_has_a_config_of_the_selected_rows(
    site: Site, printed: str
) -> None:
    outcome = aidsafe(site.folder, "publish", "--allow-simulated")
    assert outcome.returncode == 0, outcome.stdout
    (card,) = (site.settings.home / "published").glob("*/README.md")
    assert "| `selected` | the same on few rows" in card.read_text()
    (file,) = card.parent.glob("data/selected/*.parquet")
    rows = pl.read_parquet(file).sort("rank")
    chosen = selection_of(site).chosen
    assert rows["prompt_id"].to_list() == list(chosen)
    assert rows["why"].to_list() == [row.why for row in chosen.values()]
    assert [message["role"] for message in rows["messages"][0]] == ["user", "assistant"]


def test_an_export_takes_the_selected_rows_of_the_train_split(
    site: Site, printed: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--out", str(out), "--allow-simulated", "--split", "train")
    outcome = aidsafe(site.folder, "export", *options, "--rows", "selected")
    assert outcome.returncode == 0, outcome.stdout
    (file,) = out.glob("*.parquet")
    ids = set(pl.read_parquet(file)["prompt_id"])
    assert ids == selection_of(site).chosen.keys()


def test_a_batch_that_does_not_exist_is_an_error(site: Site) -> None:
    outcome = aidsafe(site.folder, "select", "--batch", "mine-0002")
    assert outcome.returncode == 2
    assert "Did you mean 'mine-0001'" in outcome.stdout


def test_without_a_finished_batch_it_names_what_each_waits_for(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        assert site.ingest(prompts_file(tmp_path, some_prompts(2))).success
        outcome = aidsafe(site.folder, "select")
        assert outcome.returncode == 1
        assert "nothing to select from (mine-0001: fine_tune_splits has not" in (
            outcome.stdout
        )


def test_a_model_for_embeddings_is_asked_once_for_each_prompt(tmp_path: Path) -> None:
    with an_embedding_server() as server:
        settings = {
            "pairs": {"iterations": 1, "candidates": 1},
            "rehearsal": NO_FAULTS,
            "embeddings": {"model": "letters", "base_url": server.base_url},
        }
        with a_site(tmp_path, **settings) as site:
            assert site.ingest(prompts_file(tmp_path, some_prompts(8))).success
            assert site.make("mine-0001").success
            outcome = aidsafe(site.folder, "select", "-n", "3")
            assert outcome.returncode == 0, outcome.stdout
            assert "embeddings of letters" in outcome.stdout
            asked = [text for body in server.requests for text in body["input"]]
            assert len(asked) == len(set(asked)) > 0
            assert aidsafe(site.folder, "select", "-n", "2").returncode == 0
            again = [text for body in server.requests for text in body["input"]]
            assert again == asked
