"""A batch is made under one recipe, or it says that it is not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job, unfinished
from aidsafe_dagster.lake.batch_recipes import RECIPES, read_recipes
from aidsafe_dagster.publishing.facts import mixed_batches
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.mixed_recipes import mixed_recipe_table
from aidsafe_dagster.settings.schema import PACKAGE
from tests.automation.test_recovery import a_run_of_the_web_ui, stages_of, tick
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
COUNT = 3
EARLY = (Stage.PROMPTS, Stage.SEED_COTS, Stage.DELIBERATED_COTS)
LATE = tuple(stage for stage in always_made() if stage not in EARLY)
SETTINGS: dict[str, Any] = {
    "rehearsal": NO_FAULTS,
    "score_gate": {"policy_to_response": 1},
}
KEEP = {"resources": {"settings": {"config": {"overrides": {"keep_recipe": True}}}}}


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch whose first stages are made."""
    folder = tmp_path_factory.mktemp("half") / "site"
    with a_site(folder, **SETTINGS) as site:
        site.ingest(prompts_file(folder, some_prompts(COUNT)))
        run = run_job(site.instance, "make_batch", partition=BATCH, stages=EARLY)
        assert run.success, run.error
    return folder


@pytest.fixture(scope="module")
def whole(half: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with all its stages."""
    folder = tmp_path_factory.mktemp("whole") / "site"
    shutil.copytree(half, folder)
    done = aidsafe(folder, "backfill")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@contextmanager
def changed(original: Path, folder: Path, **settings: Any) -> Iterator[Site]:
    """Open a copy of a site whose settings have changed since."""
    with a_copy_of(original, folder / "site") as site:
        prepare(site.folder, **{**SETTINGS, **settings})
        yield site


def hotter() -> dict[str, Any]:
    return {"sampling": {"temperature": 0.9}}


def other_policies(folder: Path) -> dict[str, Any]:
    """Copy the bundled policies and change one of them."""
    shutil.copytree(PACKAGE / "policies", folder / "policies")
    file = next((folder / "policies").glob("fraud*.toml"))
    file.write_text(file.read_text().replace("[rules]", '[rules]\n99 = "Be plain."'))
    return {"policies": str(folder / "policies")}


def forget_recipes(site: Site) -> None:
    """Leave the lake as an earlier release left it."""
    root = Path(str(site.lake.root))
    shutil.rmtree(root / RECIPES)


def test_every_stage_keeps_what_it_was_made_under(whole: Path, tmp_path: Path) -> None:
    with a_copy_of(whole, tmp_path / "site") as site:
        recipes = read_recipes(site.lake, BATCH)
        assert set(recipes) == set(map(str, always_made())) - {"prompts"}
        for stage in (Stage.SEED_COTS, Stage.REFINED_COTS, Stage.PREFERENCE_PAIRS):
            rows = site.lake.rows(stage, BATCH)
            assert set(rows["recipe"]) == {recipes[stage].fingerprint}
            assert rows["mixed_with"].list.len().sum() == 0
            assert site.metadata(stage, BATCH)["recipe"] == recipes[stage].fingerprint
        assert unfinished(site.instance, site.lake, site.settings, [BATCH]) == {}
        status = aidsafe(site.folder, "status").stdout
        assert "another recipe" not in status
        assert "Mixed recipes" not in status


def test_backfill_says_what_changed_and_what_it_costs_and_makes_it_again(
    half: Path, tmp_path: Path
) -> None:
    with changed(half, tmp_path, **hotter()) as site:
        status = aidsafe(site.folder, "status").stdout
        assert "sampling.temperature: 0.7 → 0.9" in status
        assert "●≠" in status
        done = aidsafe(site.folder, "backfill")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{BATCH} was made under another recipe" in done.stdout
        assert (
            "seed_cots, deliberated_cots: sampling.temperature: 0.7 → 0.9"
            in done.stdout
        )
        assert f"up to {2 * COUNT} rows are asked again" in done.stdout
        for stage in (Stage.SEED_COTS, Stage.FINE_TUNE_SPLITS):
            rows = site.lake.rows(stage, BATCH)
            assert rows["mixed_with"].list.len().sum() == 0
        assert site.metadata(Stage.SEED_COTS, BATCH)["calls_made"] > 0
        status = aidsafe(site.folder, "status").stdout
        assert "another recipe" not in status


def test_a_mix_by_choice_shows_on_rows_checks_status_report_and_card(
    half: Path, tmp_path: Path
) -> None:
    with changed(half, tmp_path, **other_policies(tmp_path)) as site:
        before = site.lake.fingerprint(Stage.DELIBERATED_COTS, BATCH)
        done = aidsafe(site.folder, "backfill", "--keep-recipe")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Kept as it is" in done.stdout
        assert site.lake.fingerprint(Stage.DELIBERATED_COTS, BATCH) == before
        mixed_with = ["seed_cots", "deliberated_cots"]
        for stage in (Stage.REFINED_COTS, Stage.FINE_TUNE_SPLITS):
            rows = site.lake.rows(stage, BATCH)
            assert rows.height
            assert all(row[:2] == mixed_with for row in rows["mixed_with"].to_list())
        # The baseline was made under the present policies, and rests on prompts alone.
        baseline = site.lake.rows(Stage.SINGLE_LLM_COTS, BATCH)
        assert baseline["mixed_with"].list.len().sum() == 0
        assert "mixed_recipe" in site.metadata(Stage.REFINED_COTS, BATCH)
        assert "policies: fraud_and_deception changed" in check_text(site)
        status = aidsafe(site.folder, "status").stdout
        assert "Mixed recipes, by a person's choice" in status
        assert "policies: fraud_and_deception changed" in status
        dataset = Dataset(site.lake, frozenset([BATCH]), simulated=True, left_out=0)
        table = mixed_recipe_table(dataset)
        assert table is not None
        assert "fraud_and_deception" in str(table.rows)
        (facts,) = mixed_batches(dataset)
        assert facts.batch == BATCH
        assert "seed_cots" in facts.why


def test_a_stage_alone_is_not_made_on_top_of_another_recipe_unless_told_to(
    half: Path, tmp_path: Path
) -> None:
    with changed(half, tmp_path, **hotter()) as site:
        run = run_job(
            site.instance, "make_batch", partition=BATCH, stages=[Stage.REFINED_COTS]
        )
        assert not run.success
        assert "sampling.temperature: 0.7 → 0.9" in run.error
        assert "keep_recipe" in run.error
        assert not site.lake.has(Stage.REFINED_COTS, BATCH)
        run = run_job(
            site.instance,
            "make_batch",
            partition=BATCH,
            stages=[Stage.REFINED_COTS],
            config=KEEP,
        )
        assert run.success, run.error
        assert site.lake.rows(Stage.REFINED_COTS, BATCH).height == COUNT


def test_the_recovery_makes_again_what_differs_unless_told_to_keep_it(
    half: Path, tmp_path: Path
) -> None:
    with changed(half, tmp_path, **hotter()) as site:
        a_run_of_the_web_ui(site, *LATE)
        (request,) = tick(site)
        assert set(stages_of(request)) == set(map(str, always_made())) - {"prompts"}
        prepare(site.folder, **SETTINGS, **hotter(), keep_recipe=True)
        (request,) = tick(site)
        assert set(stages_of(request)) == set(map(str, LATE))


def test_a_retry_that_the_recipe_stopped_goes_on_with_the_stages_that_differ(
    half: Path, tmp_path: Path
) -> None:
    with changed(half, tmp_path, **hotter()) as site:
        run = run_job(site.instance, "make_batch", partition=BATCH, stages=LATE)
        assert not run.success
        assert tick(site) == []
        # As Dagster marks its own retry, and that of a person.
        site.instance.add_run_tags(run.run_id, {"dagster/parent_run_id": run.run_id})
        (request,) = tick(site)
        assert str(Stage.SEED_COTS) in stages_of(request)


def test_a_finished_batch_is_told_and_remade_or_kept_whole(
    whole: Path, tmp_path: Path
) -> None:
    with changed(whole, tmp_path, **hotter()) as site:
        before = site.lake.fingerprint(Stage.PREFERENCE_PAIRS, BATCH)
        kept = aidsafe(site.folder, "backfill", "--keep-recipe")
        assert "sampling.temperature: 0.7 → 0.9" in kept.stdout
        assert "0 batches run, 1 was finished before" in kept.stdout
        kept = aidsafe(site.folder, "backfill", BATCH, "--keep-recipe")
        assert kept.returncode == 0, kept.stdout + kept.stderr
        assert site.lake.fingerprint(Stage.PREFERENCE_PAIRS, BATCH) == before
        todo = unfinished(site.instance, site.lake, site.settings, [BATCH])
        assert set(todo[BATCH]) == set(always_made()) - {Stage.PROMPTS}


def test_what_only_the_checks_take_is_replayed_from_the_journal(
    whole: Path, tmp_path: Path
) -> None:
    with changed(whole, tmp_path, checks={"min_cot_tokens": 5}) as site:
        done = aidsafe(site.folder, "backfill")
        assert "checks.min_cot_tokens: 20 → 5" in done.stdout
        assert site.metadata(Stage.SEED_COTS, BATCH)["calls_made"] == 0


def test_a_batch_without_a_record_is_told_and_left_until_it_is_named(
    whole: Path, tmp_path: Path
) -> None:
    with changed(whole, tmp_path, **hotter()) as site:
        forget_recipes(site)
        for stage in always_made():
            file = Path(str(site.lake.rows_path(stage, BATCH)))
            rows = pl.read_parquet(file).drop("recipe", "mixed_with", strict=False)
            rows.write_parquet(file)
            judge_again(site, stage)
        told = aidsafe(site.folder, "backfill")
        assert "an earlier release kept no record of their recipe" in told.stdout
        # The splits alone are made anew, of pairs whose bytes have changed.
        for stage in (Stage.SEED_COTS, Stage.PREFERENCE_PAIRS):
            assert "recipe" not in site.lake.rows(stage, BATCH).columns
        assert (
            "not recorded by an earlier release"
            in aidsafe(site.folder, "status").stdout
        )


def judge_again(site: Site, stage: str) -> None:
    """Run the checks of a stage alone, on the bytes that lie there now."""
    from aidsafe_dagster.definitions import defs

    job = defs.resolve_implicit_global_asset_job_def()
    keys = {
        key
        for key in defs.resolve_asset_graph().asset_check_keys
        if key.asset_key == dg.AssetKey(str(stage))
    }
    result = job.get_subset(
        asset_selection=set(), asset_check_selection=keys
    ).execute_in_process(instance=site.instance, partition_key=BATCH)
    assert result.success


def check_text(site: Site) -> str:
    """Return what the check `integrity` of the refined rows said last."""
    key = dg.AssetCheckKey(dg.AssetKey(str(Stage.REFINED_COTS)), "integrity")
    (record,) = site.instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1
    )
    assert record.event is not None
    evaluation = record.event.asset_check_evaluation
    assert evaluation is not None
    return evaluation.description or ""
