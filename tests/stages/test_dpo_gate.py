"""SFT rows do not wait for DPO rows: each kind stands behind the gates of its own rows."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job, unfinished
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import read_split_inputs
from aidsafe_dagster.publishing.dataset import drop_outdated
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.stages.batch_selection import (
    select_for_release,
    select_for_training,
)
from aidsafe_dagster.stages.gates import read_gate
from aidsafe_dagster.training.data import write_training_set
from tests.site import (
    NO_FAULTS,
    Site,
    a_copy_of,
    a_site,
    aidsafe,
    prompts_file,
    some_prompts,
)

BATCH = "mine-0001"
SPLITS = Stage.FINE_TUNE_SPLITS
PAIRS = Stage.PREFERENCE_PAIRS
ACCEPT = {"ops": {"fine_tune_splits": {"config": {"accept_failed_gate": True}}}}


@pytest.fixture(scope="module")
def pairless_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed site whose batch went through all stages, and lost every pair."""
    folder = tmp_path_factory.mktemp("pairless") / "site"
    # No two texts are as different as that.
    settings = {"pairs": {"max_similarity": 0.0}, "rehearsal": NO_FAULTS}
    with a_site(folder, **settings) as site:
        assert site.ingest(prompts_file(folder, some_prompts(10))).success
        run = site.make(BATCH)
        assert run.success, run.error
        assert "preference_pairs integrity: rows: expected at least 1" in run.withheld
    return folder


@pytest.fixture
def pairless(pairless_site: Path, tmp_path: Path) -> Iterator[Site]:
    with a_copy_of(pairless_site, tmp_path / "site") as site:
        yield site


@pytest.fixture
def finished(finished_site: Path, tmp_path: Path) -> Iterator[Site]:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        yield site


def mend(site: Site) -> None:
    """Set the site back to settings under which pairs come of the batch."""
    faults = "\n".join(f"{name} = {rate}" for name, rate in NO_FAULTS.items())
    (site.folder / "aidsafe.toml").write_text(f"[rehearsal]\n{faults}\n")


def materialize(
    site: Site, *assets: str, config: dict[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    """Run some assets of the batch with their checks, as a person does from the UI."""
    from aidsafe_dagster.definitions import defs

    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=site.instance,
        partition_key=BATCH,
        asset_selection=[dg.AssetKey(str(name)) for name in assets],
        run_config=config or {},
        raise_on_error=False,
    )


def close_gate(site: Site, stage: str) -> None:
    """Let the checks of a stage fail: a row of it is there twice."""
    from aidsafe_dagster.definitions import defs

    rows = site.lake.rows(stage, BATCH)
    failures = site.lake.failures(stage, BATCH)
    site.lake.write(stage, BATCH, pl.concat([rows, rows.head(1)]), failures)
    check = dg.AssetCheckKey(dg.AssetKey(str(stage)), "integrity")
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_check_selection={check}, asset_selection=set()
    )
    job.execute_in_process(
        instance=site.instance, partition_key=BATCH, raise_on_error=False
    )
    assert not read_gate(site.instance, site.lake, stage, BATCH).open


def kinds(lake: Lake) -> Counter[str]:
    return Counter(lake.rows(SPLITS, BATCH)["kind"].to_list())


def unfinished_stages(site: Site) -> tuple[str, ...]:
    todo = unfinished(site.instance, site.lake, site.settings, [BATCH])
    return todo.get(BATCH, ())


def printed(text: str) -> str:
    return " ".join(text.split())


def test_sft_rows_are_made_in_the_run_that_lost_every_pair(pairless: Site) -> None:
    refined = pairless.lake.rows(Stage.REFINED_COTS, BATCH).height
    assert kinds(pairless.lake) == {"sft": refined}
    assert not read_gate(pairless.instance, pairless.lake, PAIRS, BATCH).open
    assert read_gate(pairless.instance, pairless.lake, SPLITS, BATCH).open
    shown = pairless.metadata(SPLITS, BATCH)
    assert shown["dpo_rows_kept_out"] == 0
    assert (
        "preference_pairs mine-0001: integrity failed" in shown["dpo_rows_kept_out_by"]
    )


def test_status_and_reports_name_the_gate_that_keeps_the_dpo_rows_out(
    pairless: Site,
) -> None:
    status = printed(aidsafe(pairless.folder, "status").stdout)
    assert "SFT rows alone: the gate of the DPO rows is closed" in status
    assert "preference_pairs mine-0001: integrity failed" in status
    assert run_job(pairless.instance, "build_reports").success
    for report in ("splits.md", "quality_report.md"):
        text = (pairless.settings.reports / report).read_text().replace("\\", "")
        assert "Batches without DPO rows" in text
        assert "preference_pairs mine-0001: integrity failed" in text


def test_sft_rows_are_exported_and_dpo_rows_name_their_closed_gate(
    pairless: Site,
) -> None:
    folder = pairless.folder
    sft = aidsafe(folder, "export", "--out", "out/sft", "--allow-simulated")
    assert sft.returncode == 0, sft.stdout
    assert list((folder / "out" / "sft").iterdir())
    gate = "mine-0001: preference_pairs mine-0001: integrity failed"
    assert f"no DPO rows {gate}" in printed(sft.stdout)
    options = ("--format", "trl-dpo", "--allow-simulated")
    dpo = aidsafe(folder, "export", "--out", "out/dpo/deep", *options)
    assert dpo.returncode == 2
    assert "no row for 'trl-dpo'" in printed(dpo.stdout)
    assert "mine-0001: closed gate: preference_pairs mine-0001" in printed(dpo.stdout)
    assert not (folder / "out" / "dpo").exists()


def test_a_release_without_pairs_says_so_on_its_card(pairless: Site) -> None:
    (pairless.folder / "aidsafe.toml").write_text("[publish]\nlicence = 'MIT'\n")
    result = aidsafe(pairless.folder, "publish", "--allow-simulated")
    assert result.returncode == 0, result.stdout
    (card,) = (pairless.settings.home / "published").glob("*/README.md")
    text = card.read_text("utf-8").replace("\\", "")
    assert "Batch mine-0001 is included without its DPO rows: preference_pairs" in text
    assert "policy to response 4, response to cot 4" in text


def test_dpo_rows_come_in_once_the_pairs_are_good_and_the_splits_made_again(
    pairless: Site,
) -> None:
    sft = pairless.lake.rows(SPLITS, BATCH)
    mend(pairless)
    assert materialize(pairless, PAIRS).success
    assert read_gate(pairless.instance, pairless.lake, PAIRS, BATCH).open
    selection = select_for_release(pairless.instance, pairless.lake)
    assert "make fine_tune_splits again" in selection.without_dpo[BATCH]
    # Nothing but the splits is due, and they ask no model.
    assert unfinished_stages(pairless) == (SPLITS,)
    assert aidsafe(pairless.folder, "backfill").returncode == 0
    rows = pairless.lake.rows(SPLITS, BATCH)
    pairs = pairless.lake.rows(PAIRS, BATCH).height
    assert pairs
    assert kinds(pairless.lake) == {"sft": sft.height, "dpo": pairs}
    assert rows.filter(kind="sft").equals(sft)
    assert unfinished_stages(pairless) == ()
    assert not select_for_release(pairless.instance, pairless.lake).without_dpo


def test_pairs_behind_a_closed_gate_are_counted_and_close_no_other_gate(
    finished: Site,
) -> None:
    close_gate(finished, PAIRS)
    pairs = finished.lake.rows(PAIRS, BATCH).height
    result = materialize(finished, SPLITS)
    assert result.success
    assert kinds(finished.lake).keys() == {"sft"}
    failures = finished.lake.failures(SPLITS, BATCH)
    assert set(failures["reason"]) == {"closed_gate"}
    assert failures.height == pairs
    assert "integrity failed" in failures["detail"][0]
    assert read_gate(finished.instance, finished.lake, SPLITS, BATCH).open
    key = dg.AssetCheckKey(dg.AssetKey("fine_tune_splits"), "integrity")
    storage = finished.instance.event_log_storage
    record = storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event
    evaluation = record.event.asset_check_evaluation
    assert evaluation
    assert f"DPO rows kept out: {pairs} (preference_pairs" in str(
        evaluation.description
    )


def test_a_person_can_let_pairs_past_their_gate_and_it_shows(finished: Site) -> None:
    before = kinds(finished.lake)
    rows = finished.lake.rows(PAIRS, BATCH)
    close_gate(finished, PAIRS)
    # The same pairs again, but their checks are yet to judge them.
    finished.lake.write(
        PAIRS, BATCH, rows.head(3), finished.lake.failures(PAIRS, BATCH)
    )
    assert materialize(finished, SPLITS, config=ACCEPT).success
    assert kinds(finished.lake) == {"sft": before["sft"], "dpo": 3}
    shown = finished.metadata(SPLITS, BATCH)
    assert "integrity outdated" in shown["gate_overridden"]
    selection = select_for_release(finished.instance, finished.lake)
    assert not selection.without_dpo
    assert "preference_pairs mine-0001" in selection.overridden[BATCH]


def test_a_failed_gate_of_the_refined_cots_stops_both_kinds(finished: Site) -> None:
    before = finished.lake.fingerprint(SPLITS, BATCH)
    close_gate(finished, Stage.REFINED_COTS)
    assert not materialize(finished, SPLITS).success
    assert finished.lake.fingerprint(SPLITS, BATCH) == before


def test_dpo_rows_whose_gate_closed_since_are_neither_published_nor_trained_on(
    finished: Site,
) -> None:
    assert kinds(finished.lake)["dpo"]
    instance, lake = finished.instance, finished.lake
    everything = write_training_set(lake, [BATCH], finished.settings.home)
    close_gate(finished, PAIRS)
    release = drop_outdated(lake, select_for_release(instance, lake))
    assert release.batches == (BATCH,)
    assert "integrity failed" in release.without_dpo[BATCH]
    selection = select_for_training(instance, lake, allow_simulated=True)
    assert "1 of those taken without DPO rows" in str(selection)
    data = write_training_set(
        lake,
        selection.batches,
        finished.settings.home,
        without_dpo=selection.without_dpo,
    )
    assert data.version != everything.version
    assert sum(count for name, count in data.rows.items() if "dpo" in name) == 0
    assert data.rows["sft_train"] == everything.rows["sft_train"]
    options = ("--format", "trl-dpo", "--allow-simulated")
    refused = aidsafe(finished.folder, "export", "--out", "out", *options)
    assert refused.returncode == 2
    assert "closed gate: preference_pairs" in printed(refused.stdout)


def test_one_backfill_leaves_sft_rows_although_the_step_of_the_pairs_fails(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "site"
    with a_site(folder, rehearsal=NO_FAULTS) as site:
        assert site.ingest(prompts_file(folder, some_prompts(6))).success
        # No partition can be written below a file.
        blocked = Path(str(site.lake.root)) / str(PAIRS)
        blocked.parent.mkdir(parents=True, exist_ok=True)
        blocked.write_text("in the way")
        result = aidsafe(folder, "backfill")
        assert result.returncode == 1
        lines = printed(result.stdout)
        assert "✗ mine-0001" in lines
        assert "✓ mine-0001" in lines
        assert kinds(site.lake) == {"sft": 6}
        inputs = read_split_inputs(site.lake, BATCH)
        assert inputs
        assert inputs.closed_gate == "preference_pairs has not been made yet"
        export = aidsafe(folder, "export", "--out", "out", "--allow-simulated")
        assert export.returncode == 0, export.stdout
        blocked.unlink()
        assert aidsafe(folder, "backfill").returncode == 0
        assert kinds(site.lake)["dpo"]


def test_other_floors_make_the_splits_unfinished_and_nothing_else(
    finished: Site,
) -> None:
    assert unfinished_stages(finished) == ()
    file = finished.folder / "aidsafe.toml"
    # The rest stays as it was, since other models or rates would be another recipe.
    file.write_text(f"{file.read_text()}\n[score_gate]\nrelevance = 3\n")
    assert unfinished_stages(finished) == (SPLITS,)
