"""Ablations as jobs on a small site: calls they share with the pipeline are replayed."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import sqlalchemy as sa

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from tests.site import Site, a_site, prompts_file, some_prompts

SAMPLE = 8


def test_ablations_ask_only_what_the_pipeline_did_not(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        _backfilled(site)
        _rounds_replay_the_earlier_ones(site)
        _the_refiner_is_measured_without_a_call(site)
        _the_baseline_is_measured_without_a_call(site)
        _a_round_table_hears_all_agents_in_each_round(site)
        _a_larger_sample_holds_the_smaller_one(site)
        _what_is_wrong_is_said(site)


def _rounds_replay_the_earlier_ones(site: Site) -> None:
    before = _journaled(site)
    run = _ablate(site, "ablate_rounds")
    cost = {line["variant"]: line for line in _table(run, "cost")}
    assert list(cost) == ["0 rounds", "1 round", "2 rounds", "3 rounds"]
    assert cost["3 rounds"]["calls_made"] == 0
    assert cost["3 rounds"]["calls_replayed"] > SAMPLE
    # cut off early: a refinement and a grade are new, but for rows that had agreed by then
    assert 0 < cost["0 rounds"]["calls_made"] <= 4 * SAMPLE
    assert _journaled(site) - before == run.shown["calls_made"].value
    assert _ablate(site, "ablate_rounds").shown["calls_made"].value == 0
    tokens = {
        line["variant"]: float(line["cot_tokens"].split(" ")[0]) for line in _table(run, "cost")
    }
    assert tokens["0 rounds"] < tokens["3 rounds"]


def _the_refiner_is_measured_without_a_call(site: Site) -> None:
    run = _ablate(site, "ablate_refiner")
    assert run.shown["calls_made"].value == 0
    rows = pl.read_parquet(run.shown["path"].value)
    means = {
        name: rows.filter(pl.col("variant") == name)["cot_tokens"].mean()
        for name in rows["variant"].unique()
    }
    assert means["with refiner"] < means["without refiner"]  # type: ignore[operator]
    verdicts = {line["fault"]: line for line in _table(run, "verdicts_on_planted_thoughts")}
    assert verdicts["any of these"]["planted"] > 0
    assert 0 <= verdicts["any of these"]["false_alarm_rate"] < 0.2
    (difference,) = _table(run, "difference")
    assert difference["prompts"] > 0
    assert difference["cot_tokens"].startswith("-")


def _the_baseline_is_measured_without_a_call(site: Site) -> None:
    run = _ablate(site, "ablate_deliberation")
    assert run.shown["calls_made"].value == 0
    assert [line["variant"] for line in _table(run, "quality")] == [
        "single LLM",
        "deliberated and refined",
    ]


def _a_round_table_hears_all_agents_in_each_round(site: Site) -> None:
    run = _ablate(site, "ablate_round_table", agents=[3])
    rows = pl.read_parquet(run.shown["path"].value).filter(pl.col("variant") == "round table of 3")
    assert rows.height > 0
    assert set(rows["turns"] % 3) == {0}
    assert run.shown["calls_made"].value > 0
    assert _ablate(site, "ablate_round_table", agents=[3]).shown["calls_made"].value == 0


def _a_larger_sample_holds_the_smaller_one(site: Site) -> None:
    small, large = (
        set(
            pl.read_parquet(_ablate(site, "ablate_refiner", sample=n).shown["path"].value)[
                "prompt_id"
            ]
        )
        for n in (3, 6)
    )
    assert small < large


def _what_is_wrong_is_said(site: Site) -> None:
    assert "name at least one variant" in _ablate(site, "ablate_models", success=False).error
    nobody = _ablate(
        site, "ablate_models", success=False, variants={"small": {"refinr": {"model": "m"}}}
    ).error
    assert "refinr" in nobody
    assert "refiner" in nobody
    nowhere = _ablate(site, "ablate_rounds", success=False, batches=["mine-0009"]).error
    assert "unknown batch 'mine-0009'" in nowhere
    assert "mine-0001" in nowhere


def _backfilled(site: Site) -> None:
    assert site.ingest(prompts_file(site.folder, some_prompts(14))).success
    run = site.make("mine-0001")
    assert run.success, run.error


def _ablate(site: Site, job: str, *, success: bool = True, **config: Any) -> BatchRun:
    asset = job.replace("ablate_", "ablation_")
    run = run_job(
        site.instance, job, config={"ops": {asset: {"config": {"sample": SAMPLE} | config}}}
    )
    assert run.success is success, run.error
    return BatchRun(
        run.batch, run.run_id, run.success, run.error, _shown(site, asset) if success else {}
    )


def _shown(site: Site, asset: str) -> dict[str, Any]:
    event = site.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def _table(run: BatchRun, name: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in run.shown[name].records]


def _journaled(site: Site) -> int:
    engine = sa.create_engine(site.settings.journal)
    with engine.connect() as connection:
        counted = connection.execute(sa.text("SELECT count(*) FROM completions")).scalar_one()
    engine.dispose()
    return int(counted)
