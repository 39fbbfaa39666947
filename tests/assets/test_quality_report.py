"""The quality report after real runs: its figures, its files, and what the UI is shown of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.recipe.records import Stage
from tests.site import Site, a_copy_of, a_site, prompts_file, some_prompts

COMPLETE = """
    WITH complete AS (SELECT prompt_id FROM grades GROUP BY prompt_id HAVING count(*) = 6)
    SELECT avg(policy_to_cot) FILTER (version = 'refined'),
           avg(policy_to_cot) FILTER (version = 'single_llm'),
           count(DISTINCT prompt_id)
    FROM grades WHERE prompt_id IN (FROM complete)
"""
WINS = """
    SELECT avg(CASE outcome WHEN 'win' THEN 1 WHEN 'tie' THEN 0.5 ELSE 0 END) FROM comparisons
    WHERE judge = 'judge' AND against = 'single_llm'
"""


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A batch graded by two judges, and the reports."""
    folder = tmp_path_factory.mktemp("site")
    with a_site(
        folder,
        grading={"judges": 2},
        report={"deliberations": 5},
        checks={"max_failure_share": 0.9},
    ) as site:
        assert site.ingest(prompts_file(folder, some_prompts(16))).success
        (batch,) = site.batches
        assert site.make(batch).error == ""
        assert run_job(site.instance, "build_reports").error == ""
        yield site


def report_metadata(site: Site) -> dict[str, Any]:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("quality_report"))
    event = (
        site.instance.fetch_materializations(wanted, limit=1)
        .records[0]
        .asset_materialization
    )
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def test_the_key_numbers_are_those_of_the_warehouse(reported: Site) -> None:
    metadata = report_metadata(reported)
    with duckdb.connect(str(reported.settings.warehouse), read_only=True) as connection:
        ((refined, baseline, prompts),) = connection.execute(COMPLETE).fetchall()
        ((won,),) = connection.execute(WINS).fetchall()
        ((margin,),) = connection.execute(
            "SELECT avg(margin) FROM preference_pairs WHERE kind = 'violation'"
        ).fetchall()
    assert prompts > 8
    assert metadata["rows_on_the_same_prompts"] == prompts
    assert metadata["refined_policy_to_cot"] == pytest.approx(refined, abs=1e-4)
    assert metadata["gain_policy_to_cot"] == pytest.approx(refined - baseline, abs=1e-4)
    assert (
        metadata["gain_policy_to_cot_low"]
        <= metadata["gain_policy_to_cot"]
        <= metadata["gain_policy_to_cot_high"]
    )
    assert metadata["win_rate_against_single_llm"] == pytest.approx(won, abs=1e-4)
    assert metadata["margin_mean_violation"] == pytest.approx(margin, abs=1e-4)


def test_the_ui_is_shown_the_main_table_the_plots_and_where_the_files_are(
    reported: Site,
) -> None:
    metadata = report_metadata(reported)
    assert "\n| metric | single LLM | deliberated | refined |" in metadata["Scores"]
    assert (
        "![Refined minus single LLM, in points](data:image/png;base64,"
        in metadata["Scores"]
    )
    assert "simulated by rule" in metadata["simulated"]
    assert Path(metadata["html"]) == reported.settings.reports / "quality_report.html"
    files = {file.name for file in reported.settings.reports.glob("*quality_report*")}
    assert files == {"quality_report.html", "quality_report.md"}


def test_the_page_holds_the_sample_and_the_label_of_the_rehearsal(
    reported: Site,
) -> None:
    page = (reported.settings.reports / "quality_report.html").read_text("utf-8")
    assert page.count('<details class="case"') == 5
    assert "Rehearsal: every answer was simulated by rule" in page
    assert "UTF-8 bytes / 4" in page


def test_what_the_rehearsal_planted_is_held_against_what_was_found(
    reported: Site,
) -> None:
    lines = report_metadata(reported)["Planted truth"].splitlines()
    columns = "what | fault | planted | found | true positives | precision | recall"
    assert f"| {columns} | false alarm rate |" in lines
    assert any(
        line.startswith("| refiner: thoughts | any of these |") for line in lines
    )
    assert "Planted truth" in (
        reported.settings.reports / "quality_report.html"
    ).read_text("utf-8")


def test_time_is_shown_while_nothing_was_replayed(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        assert float(seconds_of_seed_cots(site)) > 0
        stages = [Stage.PROMPTS, Stage.SEED_COTS]
        assert run_job(
            site.instance, "make_batch", partition="mine-0001", stages=stages
        ).success
        assert seconds_of_seed_cots(site) == "–"


def seconds_of_seed_cots(site: Site) -> str:
    """Build the reports; return the last cell of the stage's line in the table of costs."""
    assert run_job(site.instance, "build_reports").success
    lines = report_metadata(site)["Cost"].splitlines()
    (line,) = [line for line in lines if line.startswith("| seed\\_cots")]
    return str(line.strip("| ").rpartition("| ")[2])


def test_before_the_first_batch_the_report_says_what_is_missing(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        assert run_job(site.instance, "build_reports").success
        markdown = (site.settings.reports / "quality_report.md").read_text("utf-8")
        assert "No row has been graded yet" in markdown
        assert report_metadata(site)["rows_refined"] == 0
