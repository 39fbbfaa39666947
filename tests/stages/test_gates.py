"""The gates: what closes them, and that nothing gets around a closed one unseen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.stages.gate_summary import EVERY_BATCH
from aidsafe_dagster.stages.gates import read_gate
from tests.site import Site, a_copy_of, a_site, prompts_file, some_prompts

BATCH = "mine-0001"
ACCEPT = {"ops": {"deliberated_cots": {"config": {"accept_failed_gate": True}}}}


@pytest.fixture(scope="module")
def stopped_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed site whose batch stopped at the gate of seed_cots: too many rows failed."""
    folder = tmp_path_factory.mktemp("stopped") / "site"
    with a_site(folder, rehearsal={"unparsable": 0.6}) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(20))).success
        assert not site.make(BATCH).success
    return folder


@pytest.fixture
def stopped(stopped_site: Path, tmp_path: Path) -> Iterator[Site]:
    with a_copy_of(stopped_site, tmp_path / "site") as site:
        yield site


@pytest.fixture
def finished(finished_site: Path, tmp_path: Path) -> Iterator[Site]:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        yield site


def materialize(
    site: Site, *assets: str, config: dict[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    """Run some assets of the batch with their checks, as a person does from the UI."""
    from aidsafe_dagster.definitions import defs

    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=site.instance,
        partition_key=BATCH,
        asset_selection=[dg.AssetKey(name) for name in assets],
        run_config=config or {},
        raise_on_error=False,
    )


def run_checks(site: Site, asset: str, *checks: str) -> dg.ExecuteInProcessResult:
    """Run some checks of the batch alone, as a person does from the UI."""
    from aidsafe_dagster.definitions import defs

    keys = {dg.AssetCheckKey(dg.AssetKey(asset), check) for check in checks}
    job = defs.resolve_implicit_global_asset_job_def()
    return job.get_subset(
        asset_selection=set(), asset_check_selection=keys
    ).execute_in_process(
        instance=site.instance, partition_key=BATCH, raise_on_error=False
    )


def error_of(result: dg.ExecuteInProcessResult) -> str:
    steps = [
        event.step_failure_data for event in result.all_events if event.is_step_failure
    ]
    failures = [step.user_failure_data for step in steps if step.user_failure_data]
    return "; ".join(str(failure.description) for failure in failures)


def check_of(site: Site, asset: str, check: str) -> dg.AssetCheckEvaluation:
    """Return the latest evaluation of a check, which is of the batch."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    record = site.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key]
    )[key]
    assert record.partition == BATCH
    assert record.event is not None
    evaluation = record.event.asset_check_evaluation
    assert evaluation is not None
    return evaluation


def test_a_batch_in_which_too_many_rows_fail_stops_at_its_gate(stopped: Site) -> None:
    assert stopped.lake.has(Stage.SEED_COTS, BATCH)
    assert not stopped.lake.has(Stage.DELIBERATED_COTS, BATCH)
    verdicts = read_gate(
        stopped.instance, stopped.lake, Stage.SEED_COTS, BATCH
    ).verdicts
    assert verdicts["integrity"] == "failed"


def test_a_closed_gate_of_any_batch_shows_in_the_overview_of_its_stage(
    stopped: Site,
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("seed_cots"), EVERY_BATCH)
    storage = stopped.instance.event_log_storage
    record = storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.partition is None
    assert record.event is not None
    evaluation = record.event.asset_check_evaluation
    assert evaluation is not None
    assert not evaluation.passed
    assert "gate CLOSED for 1 of the batches" in str(evaluation.description)
    assert f"{BATCH}: integrity" in str(evaluation.description)


def test_a_later_run_of_the_downstream_alone_cannot_slip_past_a_failed_gate(
    stopped: Site,
) -> None:
    result = materialize(stopped, "deliberated_cots")
    assert not result.success
    assert "integrity failed" in error_of(result)
    assert not stopped.lake.has(Stage.DELIBERATED_COTS, BATCH)


def test_a_run_that_accepts_a_failed_gate_goes_past_it_and_it_shows(
    stopped: Site,
) -> None:
    result = materialize(stopped, "deliberated_cots", config=ACCEPT)
    assert result.success or stopped.lake.has(Stage.DELIBERATED_COTS, BATCH)
    shown = stopped.metadata("deliberated_cots", BATCH)
    assert "integrity failed" in shown["gate_overridden"]


def test_a_gate_whose_checks_never_ran_is_closed(finished: Site) -> None:
    from aidsafe_dagster.definitions import defs

    site = finished
    site.instance.wipe_assets([dg.AssetKey("seed_cots")])
    unchecked = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={dg.AssetKey("seed_cots")}, asset_check_selection=set()
    )
    assert unchecked.execute_in_process(
        instance=site.instance, partition_key=BATCH
    ).success
    assert "integrity missing" in error_of(materialize(site, "deliberated_cots"))


def test_a_verdict_on_other_data_does_not_count(finished: Site) -> None:
    rows = finished.lake.rows(Stage.SEED_COTS, BATCH)
    finished.lake.write(Stage.SEED_COTS, BATCH, rows.head(3))
    assert "integrity outdated" in error_of(materialize(finished, "deliberated_cots"))


def test_a_gate_opens_again_when_the_batch_is_mended(stopped: Site) -> None:
    (stopped.folder / "aidsafe.toml").write_text("")
    assert stopped.make(BATCH).success
    assert all(
        read_gate(stopped.instance, stopped.lake, stage, BATCH).open
        for stage in always_made()
    )


def test_one_batch_s_closed_gate_stops_no_other_batch(stopped: Site) -> None:
    others = prompts_file(stopped.folder, some_prompts(30)[20:], name="other")
    assert stopped.ingest(others).success
    (stopped.folder / "aidsafe.toml").write_text("")
    stages = [Stage.PROMPTS, Stage.SEED_COTS, Stage.DELIBERATED_COTS]
    run = run_job(stopped.instance, "make_batch", partition="other-0001", stages=stages)
    assert run.success, run.error
    assert not read_gate(stopped.instance, stopped.lake, Stage.SEED_COTS, BATCH).open


def test_a_check_shows_what_it_saw(stopped: Site) -> None:
    evaluation = check_of(stopped, "seed_cots", "integrity")
    summary, heading, *failures = str(evaluation.description).splitlines()
    assert "failure_share: expected at most 0.2" in summary
    assert heading == "first failures:"
    stored = stopped.lake.failures("seed_cots", BATCH).row(0, named=True)
    assert failures[0].startswith(f"  {stored['prompt_id']} {stored['reason']}: ")
    table = evaluation.metadata["expectations"]
    assert isinstance(table, dg.TableMetadataValue)
    passed = {
        record.data["expectation"]: record.data["passed"] for record in table.records
    }
    assert not passed["failure_share"]


def test_a_policy_that_no_row_of_the_batch_cites_is_a_warning_and_closes_nothing(
    finished: Site,
) -> None:
    evaluation = check_of(finished, "refined_cots", "policy_breadth")
    rows = finished.lake.rows("refined_cots", BATCH).explode("thoughts")
    rules = rows["thoughts"].struct.field("rules").explode()
    cited = set(rules.str.split(".").list.first())
    assert evaluation.passed == (len(cited) == 5)
    assert evaluation.severity is dg.AssetCheckSeverity.WARN


def test_the_breadth_check_shows_the_shares_of_every_policy(finished: Site) -> None:
    evaluation = check_of(finished, "refined_cots", "policy_breadth")
    table = evaluation.metadata["policies"]
    assert isinstance(table, dg.TableMetadataValue)
    lines = {line.data["policy"]: line.data for line in table.records}
    assert len(lines) == 5
    rows = finished.lake.rows("refined_cots", BATCH)
    always = lines["respect_and_helpfulness"]
    assert always["applicable_rows"] == rows.height
    assert always["applicable_share"] == "100.0%"
    for line in lines.values():
        share = float(str(line["citing_share"]).rstrip("%")) / 100
        citing = int(str(line["citing_rows"]))
        assert share == pytest.approx(citing / rows.height, abs=0.001)


def test_a_policy_that_applied_to_almost_no_row_is_a_warning(finished: Site) -> None:
    from aidsafe_dagster.definitions import defs

    site = finished
    rows = site.lake.rows(Stage.SEED_COTS, BATCH)
    copies = []
    for number in range(60):
        copies.append(
            rows.head(1).with_columns(
                prompt_id=pl.lit(f"copy{number}"),
                applicable_policies=pl.lit(
                    ["respect_and_helpfulness"], dtype=pl.List(pl.String)
                ),
            )
        )
    site.lake.write(
        Stage.SEED_COTS,
        BATCH,
        pl.concat(copies),
        site.lake.failures(Stage.SEED_COTS, BATCH),
    )
    check = dg.AssetCheckKey(dg.AssetKey("seed_cots"), "policy_breadth")
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_check_selection={check}, asset_selection=set()
    )
    assert job.execute_in_process(instance=site.instance, partition_key=BATCH).success
    evaluation = check_of(site, "seed_cots", "policy_breadth")
    site.lake.write(
        Stage.SEED_COTS, BATCH, rows, site.lake.failures(Stage.SEED_COTS, BATCH)
    )
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert "Applied to fewer than 1.0% of 60 rows: fraud_and_deception" in str(
        evaluation.description
    )


def test_a_batch_that_refinement_made_longer_is_a_warning_and_closes_nothing(
    finished: Site,
) -> None:
    evaluation = check_of(finished, "refined_cots", "refined_length")
    assert evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    file = finished.folder / "aidsafe.toml"
    file.write_text(f"{file.read_text()}\n[checks]\nmax_median_refined_ratio = 0.01\n")
    materialize(finished, "refined_cots")
    evaluation = check_of(finished, "refined_cots", "refined_length")
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert "median refined_ratio: expected at most 0.01" in str(evaluation.description)
    gate = read_gate(finished.instance, finished.lake, Stage.REFINED_COTS, BATCH)
    assert gate.open


def test_one_check_is_run_alone_and_the_overview_keeps_what_others_found(
    stopped: Site,
) -> None:
    result = run_checks(stopped, "seed_cots", "token_length")
    assert result.success
    evaluated = [one.check_name for one in result.get_asset_check_evaluations()]
    assert evaluated == ["token_length"]
    key = dg.AssetCheckKey(dg.AssetKey("seed_cots"), EVERY_BATCH)
    storage = stopped.instance.event_log_storage
    record = storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    assert record.event.asset_check_evaluation is not None
    description = str(record.event.asset_check_evaluation.description)
    assert f"{BATCH}: integrity failed" in description


def test_checks_of_an_empty_batch_that_may_be_empty_pass(finished: Site) -> None:
    file = finished.folder / "aidsafe.toml"
    file.write_text(f"{file.read_text()}\n[checks]\nmin_rows = 0\n")
    rows = finished.lake.rows(Stage.REFINED_COTS, BATCH)
    finished.lake.write(Stage.REFINED_COTS, BATCH, rows.clear())
    result = run_checks(finished, "refined_cots", "token_length", "refined_length")
    assert result.success
    passed = {
        one.check_name: one.passed for one in result.get_asset_check_evaluations()
    }
    assert passed == {"token_length": True, "refined_length": True}


def test_a_warning_that_cannot_be_evaluated_closes_nothing(finished: Site) -> None:
    rows = finished.lake.rows(Stage.REFINED_COTS, BATCH)
    damaged = rows.with_columns(deliberated_cot_tokens=pl.lit("many"))
    finished.lake.write(Stage.REFINED_COTS, BATCH, damaged)
    result = run_checks(finished, "refined_cots", "refined_length")
    assert result.success
    evaluation = check_of(finished, "refined_cots", "refined_length")
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert "not evaluated" in str(evaluation.description)


def test_a_judge_that_wrote_the_rows_is_a_warning_that_closes_nothing(
    finished: Site,
) -> None:
    evaluation = check_of(finished, "cot_grades", "grades")
    graded = finished.lake.rows("cot_grades", BATCH).height
    # One rehearsal engine plays every role.
    model = finished.settings.rehearsal.model
    assert evaluation.passed
    assert (
        f"Warning: judged by a model that wrote them: {model} "
        f"({graded} of {graded} graded rows)" in str(evaluation.description)
    )


def test_tampered_rows_close_the_gate(finished: Site) -> None:
    from aidsafe_dagster.definitions import defs

    site = finished
    rows = site.lake.rows(Stage.REFINED_COTS, BATCH)
    failures = site.lake.failures(Stage.REFINED_COTS, BATCH)
    site.lake.write(
        Stage.REFINED_COTS, BATCH, pl.concat([rows, rows.head(1)]), failures
    )
    check = dg.AssetCheckKey(dg.AssetKey("refined_cots"), "integrity")
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_check_selection={check}, asset_selection=set()
    )
    job.execute_in_process(
        instance=site.instance, partition_key=BATCH, raise_on_error=False
    )
    verdicts = read_gate(site.instance, site.lake, Stage.REFINED_COTS, BATCH).verdicts
    assert verdicts["integrity"] == "failed"
    assert not materialize(site, "preference_pairs").success
