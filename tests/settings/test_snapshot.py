"""A run works with one snapshot of the settings, and shows its hash on everything that it makes."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.launchpad import configured_in_shell
from aidsafe_dagster.settings.schema import PACKAGE
from aidsafe_dagster.settings.snapshot import snapshot_in_force
from tests.site import a_site, prompts_file, some_prompts

BATCH = "mine-0001"


def write_settings(folder: Path, text: str) -> None:
    (folder / "aidsafe.toml").write_text(text)


def test_a_file_that_is_edited_during_a_run_takes_effect_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_settings(tmp_path, "[checks]\nmin_cot_tokens = 10\n")
    minimums = []

    @dg.asset
    def generated(settings: SettingsResource) -> None:
        minimums.append(settings.snapshot.settings.checks.min_cot_tokens)
        write_settings(tmp_path, "[checks]\nmin_cot_tokens = 4000\n")

    @dg.asset(deps=[generated])
    def judged(settings: SettingsResource) -> None:
        minimums.append(settings.snapshot.settings.checks.min_cot_tokens)

    @dg.asset_check(asset=judged, blocking=True)
    def gate(settings: SettingsResource) -> dg.AssetCheckResult:
        minimums.append(settings.snapshot.settings.checks.min_cot_tokens)
        return dg.AssetCheckResult(passed=True)

    @dg.asset
    def next_run(settings: SettingsResource) -> None:
        minimums.append(settings.snapshot.settings.checks.min_cot_tokens)

    resources = {"settings": SettingsResource()}
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(
            [generated, judged, gate], instance=instance, resources=resources
        ).success
        assert dg.materialize(
            [next_run], instance=instance, resources=resources
        ).success
    assert minimums == [10, 10, 10, 4000]


def test_policies_and_templates_are_read_once_with_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = tmp_path / "policies" / "fraud_and_deception.toml"
    policy.parent.mkdir()
    text = (PACKAGE / "policies" / policy.name).read_text()
    policy.write_text(text)
    write_settings(tmp_path, 'policies = "policies"\n')
    before = snapshot_in_force()
    version = before.policies.version
    policy.write_text(text.replace('title = "', 'title = "Edited: '))
    after = snapshot_in_force()
    assert before.policies.version == version != after.policies.version
    assert before.hash != after.hash


def test_policies_that_cannot_be_read_stop_only_what_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "broken.toml").write_text("id = ")
    write_settings(tmp_path, 'policies = "policies"\n')
    snapshot = snapshot_in_force()
    assert snapshot.settings.seed == 0
    assert snapshot.templates.version("seed_cots")
    with pytest.raises(SetupError, match=r"broken\.toml"):
        _ = snapshot.policies


def test_where_things_are_kept_does_not_change_the_hash(tmp_path: Path) -> None:
    with configured_in_shell():
        home = snapshot_in_force({"home": str(tmp_path / "here")})
        elsewhere = snapshot_in_force({"home": str(tmp_path / "there")})
        tuned = snapshot_in_force({"home": str(tmp_path / "here"), "seed": 1})
    assert home.hash == elsewhere.hash != tuned.hash


def test_every_materialization_and_gate_of_a_run_shows_the_same_hash(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(6))).success
        assert site.make(BATCH).success
        hashes = {
            stage: site.metadata(stage, BATCH)["settings_hash"]
            for stage in always_made()
        }
        assert len(hashes) == len(always_made())
        assert len(set(hashes.values())) == 1
        keys = [
            dg.AssetCheckKey(dg.AssetKey(str(stage)), suite)
            for stage in always_made()
            for suite in STAGES[stage].suites
        ]
        checks = (
            site.instance.event_log_storage.get_latest_asset_check_execution_by_key(
                keys
            )
        )
        check_hashes = {
            check_metadata(record)["settings_hash"] for record in checks.values()
        }
        assert check_hashes == set(hashes.values())


def check_metadata(record: Any) -> dict[str, Any]:
    evaluation = record.event.asset_check_evaluation
    return {name: value.value for name, value in evaluation.metadata.items()}
