"""`aidsafe generation`: the adapter of one generation is the target of the next."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    FineTuneRow,
    PreferencePair,
    Stage,
    TriedBelief,
)
from aidsafe_dagster.training.lineage import read_lineage
from tests.generations.sites import BATCH, ROWS, a_loop_site, a_server, files_of
from tests.serving import ModelServer
from tests.site import Site, aidsafe

pytestmark = pytest.mark.timeout(900)
LICENCE = {"AIDSAFE_PUBLISH__LICENCE": "mit"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ModelServer]:
    with a_server(folder / "server", "g1-dpo", "g2-dpo") as served:
        yield served


@pytest.fixture(scope="module")
def site(folder: Path, server: ModelServer) -> Iterator[Site]:
    with a_loop_site(folder / "site", server) as opened:
        yield opened


@pytest.fixture(scope="module")
def first(site: Site) -> str:
    return run(site.folder, "generation", "run", "--yes")


@pytest.fixture(scope="module")
def files_of_first(site: Site, first: str) -> Any:
    assert "Generation 1 is finished" in first
    return files_of(site.folder)


@pytest.fixture(scope="module")
def second(site: Site, server: ModelServer, files_of_first: Any) -> str:
    assert files_of_first
    server.control(reset=True)
    return run(site.folder, "generation", "run", "--yes", COLUMNS="80")


@pytest.fixture(scope="module")
def home(site: Site, second: str) -> Path:
    assert "Generation 2 is finished" in second
    return site.folder / "data" / "generations" / "2"


def run(folder: Path, *arguments: str, **variables: str) -> str:
    done = aidsafe(folder, *arguments, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lake_of(home: Path) -> Lake:
    return Lake(home / "data" / "lake")


def weights_of(site: Site) -> str:
    file = site.folder / "data/generations/1/generation.json"
    adapters = json.loads(file.read_text())["adapters"]
    (weights,) = [one["weights"] for one in adapters if one["method"] == "dpo"]
    return str(weights)


def test_the_rejected_side_of_every_pair_of_the_second_generation_is_the_adapters(
    site: Site, home: Path
) -> None:
    label = f"g1-dpo@{weights_of(site)}"
    pairs = lake_of(home).records(Stage.PREFERENCE_PAIRS, BATCH, PreferencePair)
    assert len(pairs) == ROWS
    assert {pair.adapters for pair in pairs} == {(f"target: {label}",)}
    assert {pair.generation for pair in pairs} == {2}
    tried = lake_of(home).records(BELIEF_CANDIDATES, BATCH, TriedBelief)
    assert {one.target_adapter for one in tried} == {label}
    rows = lake_of(home).records(Stage.FINE_TUNE_SPLITS, BATCH, FineTuneRow)
    by_kind = {row.kind: row.adapters for row in rows}
    assert by_kind == {"sft": (), "dpo": (f"target: {label}",)}


def test_the_first_generation_names_no_adapter(site: Site, home: Path) -> None:
    assert home.is_dir()
    pairs = site.lake.records(Stage.PREFERENCE_PAIRS, BATCH, PreferencePair)
    assert {(pair.adapters, pair.generation) for pair in pairs} == {((), 1)}


def test_the_journal_has_the_adapters_answers_beside_the_base_models(
    site: Site, home: Path
) -> None:
    assert not (home / "data/journal.sqlite").exists()
    with closing(sqlite3.connect(site.folder / "data/journal.sqlite")) as journal:
        models = journal.execute(
            "SELECT DISTINCT model FROM completions WHERE role = 'target'"
        ).fetchall()
    assert set(models) == {("fake-model",), ("g1-dpo",)}


def test_only_the_target_and_what_follows_from_its_answers_is_asked_anew(
    server: ModelServer, second: str
) -> None:
    asked = server.stats()["by_rule"]
    assert asked["target"] >= ROWS
    assert set(asked) <= {"target", "judge"}, asked
    assert "answered from the journal: single_llm_cots, seed_cots" in " ".join(
        second.split()
    )


def test_the_recipe_of_the_pairs_names_generation_and_adapter(
    site: Site, home: Path
) -> None:
    def recipes(lake: Lake, stage: Stage) -> set[str]:
        return set(lake.rows(stage, BATCH, ["recipe"])["recipe"])

    own = lake_of(home)
    for stage in (Stage.SEED_COTS, Stage.REFINED_COTS, Stage.COT_GRADES):
        assert recipes(site.lake, stage) == recipes(own, stage)
    pairs = Stage.PREFERENCE_PAIRS
    assert recipes(site.lake, pairs).isdisjoint(recipes(own, pairs))


def test_nothing_of_the_first_generation_is_overwritten(
    site: Site, files_of_first: Any, home: Path
) -> None:
    assert home.is_dir()
    assert files_of(site.folder) == files_of_first


def test_the_second_training_goes_on_from_the_adapter_that_spoke(
    site: Site, home: Path
) -> None:
    (folder,) = (home / "data/adapters").glob("*/dpo")
    lineage = read_lineage(folder)
    assert lineage is not None
    assert lineage.from_adapter == weights_of(site)
    assert lineage.generation == 2
    assert "| generation | 2 |" in (folder / "README.md").read_text()


def test_the_comparison_fits_the_terminal_and_names_who_spoke(second: str) -> None:
    comparison = second[second.index("Who spoke") :]
    lines = [line for line in comparison.splitlines() if "generations.html" not in line]
    assert max(map(len, lines)) <= 80
    assert "g1-dpo@" in comparison
    assert "n = 6: all prompts that both have, those that failed as well" in comparison
    assert "[−" in comparison


def test_the_comparison_is_told_to_programs_too(site: Site, home: Path) -> None:
    assert home.is_dir()
    values = json.loads(run(site.folder, "generation", "compare", "--json"))
    assert [one["number"] for one in values["generations"]] == [1, 2]
    assert values["speakers"]["b"][0]["adapter"] == f"g1-dpo@{weights_of(site)}"
    pairs = {one["name"]: one for one in values["target"]}["with a preference pair"]
    assert (pairs["n"], pairs["a"], pairs["b"]) == (ROWS, ROWS, ROWS)


def test_generations_are_listed(site: Site, home: Path) -> None:
    assert home.is_dir()
    listed = run(site.folder, "generation", "list")
    assert "g1-dpo@" in listed
    assert listed.count("finished") == 2


def test_a_finished_generation_that_is_run_again_asks_and_trains_nothing(
    site: Site, home: Path, server: ModelServer
) -> None:
    server.control(reset=True)
    before = files_of(home)
    done = run(site.folder, "generation", "run", "2", "--yes")
    assert "0 batches run, 1 was finished before" in done
    assert server.stats()["requests"] == 0
    adapters = {path: text for path, text in before.items() if "adapters" in path}
    after = files_of(home)
    assert {path: after[path] for path in adapters} == adapters


def test_commands_work_in_a_generation_as_in_any_project(home: Path) -> None:
    assert "mine-0001" in run(home, "status")
    refused = aidsafe(home, "generation", "run")
    assert refused.returncode == 2
    assert "this is generation 2 of a project" in refused.stdout


def test_exports_and_releases_say_the_generation(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows"
    run(home, "export", "--format", "llama-factory-dpo", "--out", str(out))
    (file,) = out.rglob("*train*.jsonl")
    row = json.loads(file.read_text().splitlines()[0])
    assert row["generation"] == 2
    assert row["adapters"].startswith("target: g1-dpo@")


def test_report_and_card_say_the_generation_and_whose_answers_the_pairs_are(
    site: Site, home: Path
) -> None:
    label = f"target: g1-dpo@{weights_of(site)}"
    report = (home / "data/reports/quality_report.md").read_text()
    assert f"2; {label}" in report
    assert "| preference\\_pairs | 2 |" in report
    assert "Generation" not in (
        site.folder / "data/reports/quality_report.md"
    ).read_text().replace("aidsafe generation", "")
    run(home, "publish", **LICENCE)
    (card_file,) = (home / "data/published").glob("*/README.md")
    card = card_file.read_text()
    assert "This data is of generation 2 of a loop" in card
    assert label in card
