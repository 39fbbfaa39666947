"""Ablations as jobs on a small site: calls they share with the pipeline are replayed."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from tests.site import Site, a_site, prompts_file, some_prompts

SAMPLE = 8


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with one finished batch. Each test runs ablations that no other one does."""
    with a_site(tmp_path_factory.mktemp("ablations") / "site") as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(14))).success
        run = site.make("mine-0001")
        assert run.success, run.error
        yield site


def test_earlier_rounds_are_replayed_and_only_what_follows_a_cut_is_asked(
    site: Site,
) -> None:
    before = count_journaled(site)
    shown = ablate(site, "rounds")
    cost = {row["variant"]: row for row in table(shown, "calls")}
    assert list(cost) == ["0 rounds", "1 round", "2 rounds", "3 rounds"]
    assert cost["3 rounds"]["calls_made"] == 0
    assert cost["3 rounds"]["calls_replayed"] > SAMPLE
    # cut off early: a refinement and a grade are new, unless the row had agreed by then
    assert 0 < cost["0 rounds"]["calls_made"] <= 4 * SAMPLE
    assert count_journaled(site) - before == shown["calls_made"].value
    assert ablate(site, "rounds")["calls_made"].value == 0
    rows = rows_of(shown)
    assert mean_tokens(rows, "0 rounds") < mean_tokens(rows, "3 rounds")


def mean_tokens(rows: pl.DataFrame, variant: str) -> float:
    return float(rows.filter(variant=variant)["cot_tokens"].mean())  # type: ignore[arg-type]


def test_the_refiner_is_measured_without_a_call(site: Site) -> None:
    shown = ablate(site, "refiner")
    assert shown["calls_made"].value == 0
    rows = rows_of(shown)
    assert mean_tokens(rows, "with refiner") < mean_tokens(rows, "without refiner")
    verdicts = {
        row["fault"]: row for row in table(shown, "verdicts_on_planted_thoughts")
    }
    assert verdicts["any of these"]["planted"] > 0
    assert 0 <= verdicts["any of these"]["false_alarm_rate"] < 0.2
    (difference,) = table(shown, "difference_from")
    assert difference["variant"] == "with refiner"
    assert "[" in difference["policy score"]


def test_the_baseline_is_measured_without_a_call(site: Site) -> None:
    shown = ablate(site, "baseline")
    assert shown["calls_made"].value == 0
    variants = [row["variant"] for row in table(shown, "scores_over_all_prompts")]
    assert variants == ["single LLM", "deliberated and refined"]


def test_a_round_table_hears_all_agents_in_each_round(site: Site) -> None:
    shown = ablate(site, "round_table", agents=[3])
    rows = rows_of(shown).filter(variant="round table of 3")
    assert rows.height > 0
    assert set(rows["turns"] % 3) == {0}
    assert shown["calls_made"].value > 0
    assert ablate(site, "round_table", agents=[3])["calls_made"].value == 0


def test_a_larger_sample_holds_the_smaller_one(site: Site) -> None:
    small = set(rows_of(ablate(site, "refiner", sample=3))["prompt_id"])
    large = set(rows_of(ablate(site, "refiner", sample=6))["prompt_id"])
    assert small < large


def test_a_mistake_in_the_configuration_names_the_valid_choices(site: Site) -> None:
    assert "name the models to compare" in run_ablation(site, "models").error
    misspelt = {"small": {"refinr": {"model": "m"}}}
    error = run_ablation(site, "models", variants=misspelt).error
    assert "refinr" in error
    assert "refiner" in error
    error = run_ablation(site, "rounds", batches=["mine-0009"]).error
    assert "unknown batch 'mine-0009'" in error
    assert "mine-0001" in error


def ablate(site: Site, name: str, **config: Any) -> dict[str, Any]:
    """Run an ablation; return the metadata of its asset."""
    run = run_ablation(site, name, **config)
    assert run.success, run.error
    event = site.instance.get_latest_materialization_event(
        dg.AssetKey(f"ablation_{name}")
    )
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def run_ablation(site: Site, name: str, **config: Any) -> BatchRun:
    op = {"config": {"sample": SAMPLE} | config}
    return run_job(
        site.instance, f"ablate_{name}", config={"ops": {f"ablation_{name}": op}}
    )


def rows_of(shown: dict[str, Any]) -> pl.DataFrame:
    return pl.read_parquet(shown["path"].value)


def table(shown: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in shown[name].records]


def count_journaled(site: Site) -> int:
    engine = sa.create_engine(site.settings.journal)
    with engine.connect() as connection:
        count = connection.execute(
            sa.text("SELECT count(*) FROM completions")
        ).scalar_one()
    engine.dispose()
    return int(count)
