"""The plan: counts follow from measured rows, hours from rates. Simulated rows are labelled."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.cli.console import short_count
from aidsafe_dagster.engines.settings import Prices
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage, Usage
from aidsafe_dagster.reports.measured_usage import measure
from aidsafe_dagster.reports.planning import (
    MeasuredSample,
    Rates,
    RowUsage,
    gpus_for,
    make_plan,
    measured_rate,
    price_unpriced,
)
from tests.builders import a_failure, a_prompt, a_seed_cot, an_sft_row
from tests.reports.builders import a_lake, make_older, many
from tests.runs.test_resume import settings_for
from tests.serving import a_model_server
from tests.site import Site, a_site, aidsafe, prompts_file, some_prompts

A100_SECONDS = 4 * 35.0  # AIDSAFE: about 35 s a prompt on 4 × A100


def a_row(
    prompt_id: str, stage: str = "seed_cots", *, failed: bool = False, **usage: float
) -> RowUsage:
    usual = {
        "calls": 2,
        "prompt_tokens": 1000,
        "cached_tokens": 800,
        "completion_tokens": 100,
    }
    values = Usage.model_validate(usual | usage)
    return RowUsage(stage, prompt_id, failed, values)


def a_sample(
    *rows: RowUsage, prompts: int = 0, simulated: bool = False
) -> MeasuredSample:
    return MeasuredSample(
        prompts or len({row.prompt_id for row in rows}),
        rows,
        simulated,
    )


def run_plan(*arguments: str) -> str:
    """The output of `aidsafe plan` in the current folder's project."""
    done = aidsafe(Path.cwd(), "plan", *arguments)
    return done.stdout + done.stderr


def make_rows(site: Site, count: int = 8) -> Site:
    site.ingest(prompts_file(site.folder, some_prompts(count)))
    run = site.make("mine-0001")
    assert run.success, run.error
    return site


def set_prices(site: Site, **prices: Any) -> None:
    table = {"input": 0.5, "output": 1.5} | prices
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    with (site.folder / "aidsafe.toml").open("a") as file:
        file.write("\n".join(["[endpoint.prices]", *lines, ""]))


def test_calls_and_tokens_scale_with_the_prompts_and_include_failed_rows() -> None:
    sample = a_sample(
        a_row("one"), a_row("two", failed=True), a_row("one", "refined_cots"), prompts=2
    )
    seed, refined = make_plan(sample, 1000, Rates()).stages
    assert seed.rows == 1000
    assert seed.calls == 2000
    assert seed.tokens_in == 1e6
    assert seed.tokens_cached == 8e5
    assert seed.tokens_out == 1e5
    assert refined.rows == 500
    assert refined.calls == 1000
    assert refined.tokens_out == 5e4


def test_the_failing_share_has_an_interval() -> None:
    sample = a_sample(*(a_row(f"p{n}", failed=n < 10) for n in range(100)))
    (stage,) = make_plan(sample, 10, Rates()).stages
    assert stage.failing is not None
    assert stage.failing.value == pytest.approx(0.1)
    assert [stage.failing.low, stage.failing.high] == pytest.approx(
        [0.0552, 0.1744], abs=1e-4
    )


def test_gpu_hours_follow_from_tokens_and_both_rates() -> None:
    sample = a_sample(*many(a_row, 5))
    planned = make_plan(
        sample,
        3600,
        Rates(tokens_out_per_second=50.0, tokens_in_per_second=100.0),
    )
    assert planned.gpu_hours is not None
    assert planned.gpu_hours.value == pytest.approx(100 / 50 + 200 / 100)


def test_more_varied_prompts_have_a_wider_interval() -> None:
    def width(spread: int) -> float:
        sample = a_sample(
            *(
                a_row(f"p{n}", completion_tokens=500 + (-1) ** n * spread)
                for n in range(50)
            )
        )
        needed = make_plan(sample, 1000, Rates(tokens_out_per_second=100.0)).gpu_hours
        assert needed is not None
        assert needed.low is not None
        assert needed.high is not None
        assert needed.low < needed.value < needed.high
        return needed.high - needed.low

    assert width(400) > 2 * width(40)


def test_the_figure_of_the_paper_gives_hours_for_ten_thousand_prompts() -> None:
    planned = make_plan(a_sample(), 10_000, Rates(seconds_per_prompt=A100_SECONDS))
    assert planned.gpu_hours is not None
    assert planned.gpu_hours.value == pytest.approx(388.9, abs=0.05)
    assert gpus_for(planned.gpu_hours.value, hours=24) == 17
    assert planned.gpu_hours.value / 4 == pytest.approx(97.2, abs=0.05)


def test_without_a_rate_there_are_no_hours_and_without_rows_no_plan() -> None:
    assert make_plan(a_sample(a_row("one")), 10, Rates()).gpu_hours is None
    with pytest.raises(SetupError, match="nothing was measured"):
        make_plan(a_sample(), 10, Rates())


def test_money_scales_with_the_prompts_and_has_the_interval_of_the_mean() -> None:
    sample = a_sample(*(a_row(f"p{n}", cost=1.0 + n % 2) for n in range(50)))
    planned = make_plan(sample, 1000, Rates())
    assert planned.money is not None
    assert planned.money.low is not None
    assert planned.money.high is not None
    assert planned.money.value == pytest.approx(1500)
    assert planned.money.low < 1500 < planned.money.high
    assert planned.stages[0].cost == pytest.approx(1500)


def test_only_rows_without_a_cost_are_priced_by_the_servers_they_name() -> None:
    free = ("local",)
    sample = a_sample(
        a_row("paid", cost=7.0),
        a_row("before prices", reasoning_tokens=60),
        replace(a_row("free"), servers=free),
    )

    def prices_of(servers: tuple[str, ...]) -> Prices:
        return Prices() if servers == free else Prices(input=2, cached=1, output=10)

    priced, count = price_unpriced(sample, prices_of)
    assert count == 1
    costs = {row.prompt_id: row.usage.cost for row in priced.rows}
    # Reasoning tokens are among the 100 tokens out, and cost no more than these.
    expected = (200 * 2 + 800 * 1 + 100 * 10) / 1e6
    assert costs == pytest.approx({"paid": 7.0, "before prices": expected, "free": 0.0})


def test_the_measured_rate_covers_only_steps_that_held_gpus() -> None:
    held = [
        {"tokens_out": 3000.0, "gpu_seconds": 2.0},
        {"tokens_out": 1000.0, "gpu_seconds": 2.0},
    ]
    assert measured_rate([*held, {"tokens_out": 9e9}]) == 1000.0
    assert measured_rate([{"tokens_out": 9e9}]) is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (950, "950"), (12_345, "12.3k"), (4.5e6, "4.5M"), (1.2e9, "1.2G")],
)
def test_counts_are_abbreviated(count: float, text: str) -> None:
    assert short_count(count) == text


def test_a_plan_from_simulated_rows_begins_with_a_warning(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        make_rows(site)
        output = run_plan(
            "--prompts",
            "1000",
            "--tokens-per-second-per-gpu",
            "2500",
            "--gpus",
            "4",
            "--gpu-price",
            "2.5",
        )
    assert output.startswith("REHEARSAL")
    assert "On 4 GPUs" in output
    assert "Cost at 2.5 a GPU-hour" in output


def test_a_plan_from_rows_of_a_model_adds_up_to_their_metadata(tmp_path: Path) -> None:
    with (
        a_model_server(tmp_path) as server,
        a_site(tmp_path / "site", **settings_for(server)) as site,
    ):
        sample, left_out = measure(make_rows(site).lake)
        assert sample.prompts == 8
        assert not sample.simulated
        assert left_out == 0
        planned = make_plan(sample, 8, Rates())
        stages = {stage.stage: stage for stage in planned.stages}
        for name in (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS):
            metadata = site.metadata(name, "mine-0001")
            assert stages[name].calls == metadata["calls_made"]
            assert stages[name].tokens_out == metadata["tokens_out"]
        page = run_plan("--prompts", "10000")
        set_prices(site, currency="EUR")
        priced_page = run_plan("--prompts", "10000")
    assert "REHEARSAL" not in page
    assert "Hours cannot be told" in page
    assert "[endpoint.prices]" in page
    assert "Calls cost: EUR " in priced_page
    assert "made without prices" in priced_page


def test_measured_rows_of_an_older_release_still_make_a_plan(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        failures=[a_failure()],
        prompts=[a_prompt()],
        seed_cots=[a_seed_cot()],
        fine_tune_splits=[an_sft_row()],
    )
    make_older(lake, "demo-0001")
    sample, _ = measure(lake)
    assert [row.usage.prompt_tokens for row in sample.rows] == [600, 900]
    assert [row.servers for row in sample.rows] == [(), ()]


def test_without_rows_the_command_says_what_to_do(tmp_path: Path) -> None:
    with a_site(tmp_path):
        assert "aidsafe backfill" in run_plan()
