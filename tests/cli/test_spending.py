"""What a backfill prints of calls, tokens and money, from a real run against a model server."""

from pathlib import Path

import pytest

from aidsafe_dagster.cli.batches import run_backfill
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.recipe.records import Stage, Usage
from tests.runs.test_resume import settings_for
from tests.serving import a_model_server
from tests.site import Site, a_site, prompts_file, some_prompts

PRICES = {"input": 0.5, "output": 1.5, "currency": "EUR"}
USED = Usage(
    calls=3,
    prompt_tokens=12_300,
    cached_tokens=8000,
    completion_tokens=900,
    reasoning_tokens=300,
    cost=0.0042,
)


def test_a_line_has_calls_tokens_and_money() -> None:
    assert describe_spending(Spending(USED, replayed=2), "EUR") == (
        "3 calls (2 more replayed), 12.3k tokens in (8.0k cached), "
        "900 out (300 reasoning), EUR 0.0042"
    )
    assert "EUR" not in describe_spending(Spending(USED), "")


def test_without_new_calls_the_line_says_so() -> None:
    assert describe_spending(Spending(Usage(), 73), "EUR") == (
        "no new calls, 73 replayed"
    )


def test_a_backfill_tells_money_once_and_replays_are_free(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        a_model_server(tmp_path) as server,
        a_site(
            tmp_path / "site", **settings_for(server), **{"endpoint.prices": PRICES}
        ) as site,
    ):
        site.ingest(prompts_file(site.folder, some_prompts(2)))
        (first, _) = run_backfill(site.instance, site.settings, [])
        page = capsys.readouterr().out
        assert first.success, first.error
        shown = site.metadata("refined_cots", "mine-0001")
        cost_of_rows = cost_in(site, Stage.REFINED_COTS)
        (again, _) = run_backfill(site.instance, site.settings, ["mine-0001"])
        second_page = capsys.readouterr().out
        free = site.metadata("refined_cots", "mine-0001")
        assert cost_in(site, Stage.REFINED_COTS) == pytest.approx(cost_of_rows)
    assert "✓ mine-0001:" in page
    assert "EUR " in page
    assert shown["currency"] == "EUR"
    assert shown["cost"] == pytest.approx(cost_of_rows, abs=1e-6)
    assert shown["servers"] == "endpoint"
    assert first.spending.usage.cost > cost_of_rows > 0
    assert "no new calls" in second_page
    assert free["cost"] == 0
    assert again.spending.usage == Usage()


def cost_in(site: Site, stage: Stage) -> float:
    usage = site.lake.rows(stage, "mine-0001")["usage"]
    return float(usage.struct.field("cost").sum())
