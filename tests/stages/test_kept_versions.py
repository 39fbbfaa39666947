"""A batch that is made again under another recipe is kept as it was."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.lake.kept_versions import (
    batches_with_versions,
    fingerprints_of,
    stale_stages,
    version_lake,
    versions_of,
)
from aidsafe_dagster.lake.reader import open_lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.settings.schema import PACKAGE
from tests.site import (
    NO_FAULTS,
    Site,
    a_copy_of,
    a_site,
    aidsafe,
    prepare,
    prompts_file,
    some_prompts,
)

BATCH = "mine-0001"
SETTINGS: dict[str, Any] = {
    "rehearsal": NO_FAULTS,
    "score_gate": {"policy_to_response": 1},
}
HOT = {"sampling": {"temperature": 0.9}}
HOTTER = {"sampling": {"temperature": 1.1}}
UNCOMPARED = {"grading": {"compared": 0.0}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "site"
    with a_site(folder, **SETTINGS) as site:
        site.ingest(prompts_file(folder, some_prompts(3)))
        run = site.make(BATCH)
        assert run.success, run.error
    return folder


@contextmanager
def a_copy(made: Path, tmp_path: Path) -> Iterator[Site]:
    with a_copy_of(made, tmp_path / "site") as site:
        yield site


def make_under(site: Site, *stages: Stage, **settings: Any) -> None:
    """Make the batch, or some of its stages, under other settings."""
    prepare(site.folder, **{**SETTINGS, **settings})
    run = run_job(site.instance, "make_batch", partition=BATCH, stages=stages)
    assert run.success, run.error


def test_the_batch_as_it_was_is_kept_whole_and_nothing_else_sees_it(
    made: Path, tmp_path: Path
) -> None:
    with a_copy(made, tmp_path) as site:
        before = fingerprints_of(site.lake, BATCH)
        tables = site.lake.tables()
        rows = open_lake(str(site.lake.root)).rows("refined_cots").height
        make_under(site, **HOT)
        (version,) = versions_of(site.lake, BATCH)
        kept = version_lake(site.lake, version)
        assert fingerprints_of(kept, BATCH) == before == version.fingerprints
        assert fingerprints_of(site.lake, BATCH) != before
        assert version.changes == ("sampling.temperature: 0.7 → 0.9",)
        assert (version.rows, version.currency) == (3, "")
        assert site.lake.tables() == tables
        assert open_lake(str(site.lake.root)).rows("refined_cots").height == rows
        assert not stale_stages(fingerprints_of(site.lake, BATCH), [version])


@pytest.mark.slow
def test_the_same_recipe_keeps_nothing(made: Path, tmp_path: Path) -> None:
    with a_copy(made, tmp_path) as site:
        make_under(site)
        assert versions_of(site.lake, BATCH) == []


@pytest.mark.slow
def test_what_was_half_made_again_is_no_version(made: Path, tmp_path: Path) -> None:
    with a_copy(made, tmp_path) as site:
        make_under(site, Stage.PROMPTS, Stage.SEED_COTS, **HOT)
        versions = versions_of(site.lake, BATCH)
        state = fingerprints_of(site.lake, BATCH)
        assert stale_stages(state, versions) == {
            "deliberated_cots",
            "refined_cots",
            "cot_grades",
            "preference_pairs",
            "fine_tune_splits",
        }
        make_under(site, **HOTTER)
        assert versions_of(site.lake, BATCH) == versions
        assert not stale_stages(fingerprints_of(site.lake, BATCH), versions)


@pytest.mark.slow
def test_a_change_of_the_grades_alone_keeps_the_batch_and_so_does_the_next_change(
    made: Path, tmp_path: Path
) -> None:
    with a_copy(made, tmp_path) as site:
        make_under(site, **UNCOMPARED)
        make_under(site, **UNCOMPARED, **HOT)
        first, second = versions_of(site.lake, BATCH)
        assert first.changes == ("grading.compared: 1.0 → 0.0",)
        assert first.fingerprints["seed_cots"] == second.fingerprints["seed_cots"]
        assert first.fingerprints["cot_grades"] != second.fingerprints["cot_grades"]


@pytest.mark.slow
def test_a_changed_policy_is_named_and_a_forgotten_batch_has_no_versions(
    made: Path, tmp_path: Path
) -> None:
    with a_copy(made, tmp_path) as site:
        shutil.copytree(PACKAGE / "policies", tmp_path / "policies")
        file = next((tmp_path / "policies").glob("fraud*.toml"))
        text = file.read_text("utf-8").replace("[rules]", '[rules]\n99 = "Be plain."')
        file.write_text(text, "utf-8")
        make_under(site, policies=str(tmp_path / "policies"))
        (version,) = versions_of(site.lake, BATCH)
        assert version.changes == ("policies: fraud_and_deception changed",)
        outcome = aidsafe(site.folder, "forget", BATCH, "--yes")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert "1 earlier version" in outcome.stdout
        assert batches_with_versions(site.lake) == []
