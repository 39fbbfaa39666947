"""The context preflight of real runs, against a model server."""

from pathlib import Path
from typing import Any

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.recipe.records import Stage
from tests.serving import LENIENT, ModelServer, a_model_server
from tests.site import a_site, prompts_file, some_prompts

BATCH = "mine-0001"


def settings_for(server: ModelServer, **endpoint: Any) -> dict[str, Any]:
    address = {"base_url": server.base_url, "model": "fake-model", "slots": 16}
    return {
        "engine": "endpoint",
        "endpoint": {**address, **endpoint},
        "checks": LENIENT,
    }


def test_a_run_that_would_not_fit_stops_before_its_first_call(tmp_path: Path) -> None:
    with (
        a_model_server(tmp_path) as server,
        a_site(tmp_path / "site", **settings_for(server, context_length=6000)) as site,
    ):
        assert site.ingest(prompts_file(tmp_path, some_prompts(2))).success
        run = site.make(BATCH)
        assert not run.success
        assert "refiner, after round 3: about " in str(run.error)
        assert "the server 'endpoint' holds 6,000" in str(run.error)
        assert server.stats()["requests"] == 0


def test_stages_that_fit_are_made_though_a_later_one_would_not(tmp_path: Path) -> None:
    with (
        a_model_server(tmp_path) as server,
        a_site(tmp_path / "site", **settings_for(server, context_length=5000)) as site,
    ):
        assert site.ingest(prompts_file(tmp_path, some_prompts(2))).success
        stages = [Stage.PROMPTS, Stage.SEED_COTS]
        run = run_job(site.instance, "make_batch", partition=BATCH, stages=stages)
        assert run.success, run.error


def test_a_run_warns_once_of_rows_that_may_not_fit(tmp_path: Path) -> None:
    with (
        a_model_server(tmp_path) as server,
        a_site(tmp_path / "site", **settings_for(server, context_length=8192)) as site,
    ):
        assert site.ingest(prompts_file(tmp_path, some_prompts(2))).success
        stages = [*Stage][: [*Stage].index(Stage.REFINED_COTS) + 1]
        run = run_job(site.instance, "make_batch", partition=BATCH, stages=stages)
        assert run.success, run.error
        lines = [entry.user_message for entry in site.instance.all_logs(run.run_id)]
        start = "A row of unusual length would not fit: refiner, after round 3: about "
        assert sum(line.startswith(start) for line in lines) == 1
