"""The adapters as assets: the batches they are trained on, their metadata, and `aidsafe train`."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import typer
from typer.testing import CliRunner

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.cli.train import train
from aidsafe_dagster.recipe.records import PreferencePair
from aidsafe_dagster.training.lineage import read_lineage
from tests.builders import a_pair
from tests.selection.stored import put_selection
from tests.site import Site, aidsafe
from tests.training.sites import a_training_site, put, put_checked, some_rows


def train_adapters(site: Site, **overrides: Any) -> BatchRun:
    config = {
        "resources": {"settings": {"config": {"overrides": {"training": overrides}}}}
    }
    return run_job(site.instance, "train_adapters", config=config)


def metadata_of(site: Site, asset: str) -> dict[str, Any]:
    event = site.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {
        key: value.value for key, value in event.asset_materialization.metadata.items()
    }


def test_both_adapters_are_trained_on_all_batches_and_show_what_became_of_it(
    tmp_path: Path,
) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5))
        put_checked(site, "b-0001", some_rows(5, "q"))
        run = train_adapters(site)
        assert run.success, run.error
        for asset, method in (("sft_adapter", "sft"), ("dpo_adapter", "dpo")):
            metadata = metadata_of(site, asset)
            assert (
                metadata["rows"],
                metadata["batches"],
                metadata["batches_with_closed_gate"],
            ) == (6, 2, 0)
            assert (
                metadata["train_loss"],
                metadata["eval_loss"],
                metadata["reused"],
            ) == (
                1.5,
                2.25,
                False,
            )
            assert metadata["loss_curve"].startswith(
                "![loss over steps](data:image/png;base64,"
            )
            assert "simulated" not in metadata
            assert "gpu_seconds" not in metadata
            lineage = read_lineage(Path(metadata["path"]))
            assert lineage is not None
            assert (lineage.method, lineage.dataset_version) == (
                method,
                metadata["dataset_version"],
            )
            assert lineage.batches.keys() == {"a-0001", "b-0001"}
        assert train_adapters(site).success
        assert metadata_of(site, "sft_adapter")["reused"]
        assert metadata_of(site, "dpo_adapter")["reused"]


def test_a_batch_whose_gate_did_not_pass_is_left_out_and_counted(
    tmp_path: Path,
) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5))
        put(site.lake, "b-0001", some_rows(5, "q"))
        put_checked(site, "c-0001", some_rows(5, "r"))
        put(
            site.lake, "c-0001", some_rows(5, "s")
        )  # other bytes than those that were judged
        assert train_adapters(site).success
        metadata = metadata_of(site, "sft_adapter")
        assert (
            metadata["rows"],
            metadata["batches"],
            metadata["batches_with_closed_gate"],
        ) == (
            3,
            1,
            2,
        )
        lineage = read_lineage(Path(metadata["path"]))
        assert lineage is not None
        assert lineage.batches.keys() == {"a-0001"}


def test_pairs_behind_a_closed_gate_are_not_trained_on_and_the_gate_is_named(
    tmp_path: Path,
) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5))
        # Nobody has checked these pairs.
        site.lake.store("preference_pairs", "a-0001", [a_pair()], PreferencePair, [])
        run = train_adapters(site)
        assert not run.success
        assert "no dpo row is in the train split" in run.error
        assert "preference_pairs a-0001: integrity missing" in run.error
        metadata = metadata_of(site, "sft_adapter")
        assert (metadata["rows"], metadata["batches_without_dpo"]) == (3, 1)


def test_simulated_rows_are_refused(tmp_path: Path) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5, simulated=True))
        run = train_adapters(site)
        assert not run.success
        assert (
            "batches: 0 taken, 0 left out for a closed gate, 1 left out as simulated"
            in run.error
        )
        assert "training.allow_simulated = true" in run.error


def test_simulated_batches_beside_real_ones_are_left_out_and_counted(
    tmp_path: Path,
) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5))
        put_checked(
            site, "b-0001", [*some_rows(4, "q"), *some_rows(1, "s", simulated=True)]
        )
        assert train_adapters(site).success
        metadata = metadata_of(site, "sft_adapter")
        assert (metadata["rows"], metadata["batches_simulated_left_out"]) == (3, 1)
        assert "simulated" not in metadata


def test_simulated_rows_that_are_allowed_label_all_that_comes_of_them(
    tmp_path: Path,
) -> None:
    with a_training_site(tmp_path, allow_simulated=True) as site:
        put_checked(site, "a-0001", some_rows(5, simulated=True))
        assert train_adapters(site).success
        for asset in ("sft_adapter", "dpo_adapter"):
            metadata = metadata_of(site, asset)
            assert "simulated by rule" in metadata["simulated"]
            assert metadata["lineage"]["simulated"]
            assert (
                "simulated by rule"
                in (Path(metadata["path"]) / "README.md").read_text()
            )


def test_without_any_rows_the_run_says_what_to_do(tmp_path: Path) -> None:
    with a_training_site(tmp_path) as site:
        assert (
            "no batch has fine_tune_splits yet (`aidsafe backfill`)"
            in train_adapters(site).error
        )


def test_a_training_that_fails_is_explained_by_the_run(tmp_path: Path) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5))
        run = train_adapters(site, model="broken-memory")
        assert not run.success
        assert run.error.startswith("sft training failed: out of GPU memory")
        assert "CUDA out of memory. Tried to allocate" in run.error


def test_progress_is_in_the_run_s_log(tmp_path: Path) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5))
        run = train_adapters(site)
        messages = [entry.user_message for entry in site.instance.all_logs(run.run_id)]
        assert any(
            line.startswith("sft: 3 rows to train on; batches: 1 taken, 0 left out")
            for line in messages
        )
        assert "dpo: stand-in for dpo.py with a-model" in messages


@pytest.mark.parametrize("asset", ["sft_adapter", "dpo_adapter"])
def test_the_assets_come_after_the_splits_and_say_what_they_are(asset: str) -> None:
    from aidsafe_dagster.definitions import defs

    graph = defs.resolve_asset_graph()
    node = graph.get(dg.AssetKey(asset))
    assert dg.AssetKey("fine_tune_splits") in node.parent_keys
    assert node.description
    assert (node.group_name, node.owners, node.partitions_def) == (
        "training",
        ["team:alignment"],
        None,
    )
    assert (
        dg.AssetKey("sft_adapter") in graph.get(dg.AssetKey("dpo_adapter")).parent_keys
    )


def command(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_the_command_line_trains_both_and_prints_losses_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_training_site(tmp_path, allow_simulated=True) as site:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        put_checked(site, "a-0001", some_rows(5, simulated=True))
        first = command()
        assert first.exit_code == 0, first.output
        assert first.output.count("2.25") == 2
        assert (
            f"dpo_adapter: {Path(metadata_of(site, 'dpo_adapter')['path']).relative_to(tmp_path)}"
            in first.output
        )
        assert "simulated by rule" in first.output.replace("\n", " ")
        assert "yes" in command().output
        assert "yes" not in command("--force").output


def test_the_command_line_shows_what_was_made_before_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_training_site(tmp_path) as site:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        put_checked(site, "a-0001", [row for row in some_rows(5) if row.kind == "sft"])
        result = command("--model", "another-model")
        assert result.exit_code == 1
        assert "sft_adapter" in result.output
        assert "no dpo row is in the train split" in result.output.replace("\n", " ")


def test_an_adapter_of_the_selected_rows_stands_beside_those_of_all_and_of_a_random_draw(
    tmp_path: Path,
) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(10))
        put_selection(site.lake, ["a-0001"], ["p0", "p5"], ["p1", "p2"])
        folders = set()
        for arm, rows in (("all", 6), ("selected", 2), ("random", 2)):
            config = {"ops": {"sft_adapter": {"config": {"rows": arm}}}}
            config["ops"]["dpo_adapter"] = {"config": {"rows": arm}}
            run = run_job(site.instance, "train_adapters", config=config)
            assert run.success, run.error
            for asset in ("sft_adapter", "dpo_adapter"):
                metadata = metadata_of(site, asset)
                assert (metadata["rows_of"], metadata["rows"]) == (arm, rows)
                folders.add(metadata["path"])
        # None takes the place of another, so that all three can be tested.
        assert len(folders) == 6
        data = sorted(tmp_path.glob("data/training/*/sft_validation.parquet"))
        assert len({file.read_bytes() for file in data}) == 1


def test_an_arm_without_a_selection_says_what_to_run(tmp_path: Path) -> None:
    with a_training_site(tmp_path) as site:
        put_checked(site, "a-0001", some_rows(5))
        outcome = aidsafe(site.folder, "train", "--rows", "selected")
        assert outcome.returncode == 1
        assert "nothing has been selected yet (`aidsafe select`)" in outcome.stdout
