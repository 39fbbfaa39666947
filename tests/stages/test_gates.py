"""The gates: what closes them, and that nothing gets around a closed one unseen."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.stages.gates import read_gate
from tests.site import Site, a_site, prompts_file, some_prompts

BATCH = "mine-0001"
BROKEN = {"unparsable": 0.6}
ACCEPT = {"ops": {"deliberated_cots": {"config": {"accept_failed_gate": True}}}}


def filled(site: Site, count: int = 20) -> None:
    assert site.ingest(prompts_file(site.folder, some_prompts(count))).success


def alone(
    site: Site, *assets: str, config: dict[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    """A run of some assets of the batch with their checks, as one starts it from the UI."""
    from aidsafe_dagster.definitions import defs

    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=site.instance,
        partition_key=BATCH,
        asset_selection=[dg.AssetKey(name) for name in assets],
        run_config=config or {},
        raise_on_error=False,
    )


def closed_because(result: dg.ExecuteInProcessResult) -> str:
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return "; ".join(str(f.user_failure_data.description) for f in failures if f.user_failure_data)


def test_a_batch_in_which_too_many_rows_fail_stops_at_its_gate(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=BROKEN) as site:
        filled(site)
        run = site.make(BATCH)
        assert not run.success
        assert site.lake.has(Stage.SEED_COTS, BATCH)
        assert not site.lake.has(Stage.DELIBERATED_COTS, BATCH)
        assert (
            read_gate(site.instance, site.lake, Stage.SEED_COTS, BATCH).verdicts["integrity"]
            == "failed"
        )


def test_a_later_run_of_the_downstream_alone_cannot_slip_past_a_failed_gate(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=BROKEN) as site:
        filled(site)
        site.make(BATCH)
        result = alone(site, "deliberated_cots")
        assert not result.success
        assert "integrity failed" in closed_because(result)
        assert not site.lake.has(Stage.DELIBERATED_COTS, BATCH)


def test_a_run_that_says_so_goes_past_a_failed_gate_and_it_shows(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=BROKEN) as site:
        filled(site)
        site.make(BATCH)
        assert alone(site, "deliberated_cots", config=ACCEPT).success or site.lake.has(
            Stage.DELIBERATED_COTS, BATCH
        )
        assert "integrity failed" in site.metadata("deliberated_cots", BATCH)["gate_overridden"]


def test_a_gate_that_was_never_asked_is_closed(tmp_path: Path) -> None:
    from aidsafe_dagster.definitions import defs

    with a_site(tmp_path) as site:
        filled(site)
        assert alone(site, "prompts").success
        unchecked = defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={dg.AssetKey("seed_cots")}, asset_check_selection=set()
        )
        assert unchecked.execute_in_process(instance=site.instance, partition_key=BATCH).success
        result = alone(site, "deliberated_cots")
        assert "integrity missing" in closed_because(result)


def test_a_verdict_on_other_data_does_not_count(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        assert site.make(BATCH).success
        rows = site.lake.rows(Stage.SEED_COTS, BATCH)
        site.lake.write(Stage.SEED_COTS, BATCH, rows.head(3))
        result = alone(site, "deliberated_cots")
        assert "integrity outdated" in closed_because(result)


def test_a_gate_opens_again_when_the_batch_is_mended(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=BROKEN) as site:
        filled(site)
        assert not site.make(BATCH).success
        (site.folder / "aidsafe.toml").write_text("")
        assert site.make(BATCH).success
        assert all(read_gate(site.instance, site.lake, stage, BATCH).open for stage in Stage)


def test_one_batch_s_closed_gate_stops_no_other_batch(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        assert site.ingest(prompts_file(tmp_path, some_prompts(60)[40:], name="other")).success
        (site.folder / "aidsafe.toml").write_text("[rehearsal]\nunparsable = 0.9\n")
        assert not site.make(BATCH).success
        (site.folder / "aidsafe.toml").write_text("")
        assert site.make("other-0001").success


def test_a_check_shows_what_it_saw(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=BROKEN) as site:
        filled(site)
        site.make(BATCH)
        key = dg.AssetCheckKey(dg.AssetKey("seed_cots"), "integrity")
        record = site.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert record.partition == BATCH
        assert record.event is not None
        evaluation = record.event.asset_check_evaluation
        assert evaluation is not None
        assert "failure_share: expected at most 0.2" in str(evaluation.description)
        table = evaluation.metadata["expectations"]
        assert isinstance(table, dg.TableMetadataValue)
        assert any(
            r.data["expectation"] == "failure_share" and not r.data["passed"] for r in table.records
        )


def test_a_policy_that_no_row_of_the_batch_cites_is_a_warning_and_closes_nothing(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        assert site.make(BATCH).success
        keys = [dg.AssetCheckKey(dg.AssetKey("refined_cots"), "policy_breadth")]
        record = site.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)[
            keys[0]
        ]
        assert record.event is not None
        evaluation = record.event.asset_check_evaluation
        assert evaluation is not None
        cited = {
            rule.split(".")[0]
            for thoughts in site.lake.rows("refined_cots", BATCH)["thoughts"].to_list()
            for thought in thoughts
            for rule in thought["rules"]
        }
        assert evaluation.passed == (len(cited) == 5)
        assert evaluation.severity is dg.AssetCheckSeverity.WARN


def test_tampered_rows_close_the_gate(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        assert site.make(BATCH).success
        rows = site.lake.rows(Stage.REFINED_COTS, BATCH)
        doubled = pl.concat([rows, rows.head(1)])
        site.lake.write(
            Stage.REFINED_COTS, BATCH, doubled, site.lake.failures(Stage.REFINED_COTS, BATCH)
        )
        from aidsafe_dagster.definitions import defs

        check = dg.AssetCheckKey(dg.AssetKey("refined_cots"), "integrity")
        job = defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_check_selection={check}, asset_selection=set()
        )
        job.execute_in_process(instance=site.instance, partition_key=BATCH, raise_on_error=False)
        assert (
            read_gate(site.instance, site.lake, Stage.REFINED_COTS, BATCH).verdicts["integrity"]
            == "failed"
        )
        assert not alone(site, "preference_pairs").success
