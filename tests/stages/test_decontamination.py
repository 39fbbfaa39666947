"""Decontamination and the splits in real runs: what is removed where, why, and what the reports
say of it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job, unfinished
from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, assign_split
from aidsafe_dagster.recipe.records import FineTuneRow, Prompt, Stage
from aidsafe_dagster.sources.contamination import read_match
from aidsafe_dagster.stages.checks import expected_rows
from aidsafe_dagster.stages.decontamination import checked_version, decontamination_version
from tests.builders import an_sft_row
from tests.site import Site, a_site, prompts_file, some_prompts

KILL, BODY = "How do I kill a Python process?", "What is the best way to get rid of a dead body?"
EMBEDDED = f"My aunt wrote this to me last week: {KILL} I have no answer."
INNOCENT = "What is the best way to get rid of ants in the kitchen?"
FAULTLESS = {
    name: 0.0
    for name, field in RehearsalSettings.model_fields.items()
    if field.default not in (0, 0.0)
}


def with_evaluation_set(site: Site, *texts: str, name: str = "ours") -> None:
    """Adds an evaluation set to the site's settings."""
    file = site.folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps({"question": text}) + "\n" for text in texts))
    spec = f'\n[[decontamination.sets]]\nname = "{name}"\npath = "{file.name}"\ncolumns.prompt = "question"\n'
    with (site.folder / "aidsafe.toml").open("a") as settings:
        settings.write(spec)


def latest(site: Site, asset: str) -> dict[str, Any]:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset))
    event = site.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def split_check(site: Site) -> tuple[bool, str]:
    """What the check on all splits said last."""
    key = dg.AssetCheckKey(dg.AssetKey("split_report"), "no_cluster_spans_two_splits")
    record = site.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    seen = record.event.asset_check_evaluation
    assert seen is not None
    return seen.passed, seen.description or ""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two batches, the evaluation set `later` configured when the first was made, and the
    reports.
    """
    folder = tmp_path_factory.mktemp("site")
    with a_site(folder, ingest={"batch_size": 8}, rehearsal=FAULTLESS) as site:
        with_evaluation_set(site, KILL, BODY)
        prompts = [
            *some_prompts(6),
            EMBEDDED,
            INNOCENT,
            "A dead body: what is the best way to get rid of it?",
            "Bread",
        ]
        assert site.ingest(prompts_file(folder, prompts)).success
        assert site.make("mine-0001").error == ""
        with_evaluation_set(site, some_prompts(6)[2].upper(), name="later")
        run = run_job(
            site.instance, "make_batch", partition="mine-0001", stages=[Stage.FINE_TUNE_SPLITS]
        )
        assert run.error == ""
        assert site.make("mine-0002").error == ""
        assert run_job(site.instance, "build_reports").error == ""
        yield site


def contaminated(lake: Lake, stage: Stage, batch: str) -> list[str]:
    return lake.failures(stage, batch).filter(reason="contaminated")["detail"].to_list()


def test_an_evaluation_prompt_goes_no_further_than_prompts_and_names_its_match(made: Site) -> None:
    (detail,) = contaminated(made.lake, Stage.PROMPTS, "mine-0001")
    match = read_match(detail)
    assert (match.set, match.row, match.rule, match.text) == (
        "ours",
        "ours.jsonl row 1",
        "contained",
        KILL,
    )
    for stage in (s for s in Stage if s in (Stage.PROMPTS, Stage.SEED_COTS, Stage.REFINED_COTS)):
        prompts = made.lake.rows(stage, "mine-0001")["prompt"].to_list()
        assert INNOCENT in prompts
        assert EMBEDDED not in prompts


def test_ingested_rows_are_those_taken_up_and_those_removed(made: Site) -> None:
    for batch in made.batches:
        ingested = made.lake.rows("ingested", batch).height
        taken, removed = (
            made.lake.rows(Stage.PROMPTS, batch),
            made.lake.failures(Stage.PROMPTS, batch),
        )
        assert (
            taken.height + removed.height
            == ingested
            == expected_rows(made.lake, Stage.PROMPTS, batch)
        )
        assert made.metadata("prompts", batch)["rows_failed"] == removed.height > 0


def test_a_set_that_came_later_counts_in_the_splits(made: Site) -> None:
    found = contaminated(made.lake, Stage.FINE_TUNE_SPLITS, "mine-0001")
    assert [detail.split(" | ")[:2] for detail in found] == [
        ["sft: later", "exact"],
        ["dpo: later", "exact"],
    ]
    assert contaminated(made.lake, Stage.FINE_TUNE_SPLITS, "mine-0002") == []
    (removed,) = made.lake.failures(Stage.FINE_TUNE_SPLITS, "mine-0001")["prompt_id"].unique()
    assert removed not in made.lake.rows(Stage.FINE_TUNE_SPLITS, "mine-0001")["prompt_id"]


def test_a_stage_knows_with_which_sets_it_was_checked(made: Site) -> None:
    version = decontamination_version(made.settings)
    checked = {
        (stage, batch): checked_version(made.lake, stage, batch) == version
        for stage in (Stage.PROMPTS, Stage.FINE_TUNE_SPLITS)
        for batch in made.batches
    }
    assert [key for key, current in checked.items() if not current] == [
        (Stage.PROMPTS, "mine-0001")
    ]


def test_the_report_names_every_removed_row(made: Site) -> None:
    rows = pl.read_parquet(made.settings.reports / "decontamination.parquet")
    assert rows.select("batch", "source", "stage", "kind", "set", "rule").sort(
        "batch", "stage", "kind"
    ).rows() == [
        ("mine-0001", "mine", "fine_tune_splits", "dpo", "later", "exact"),
        ("mine-0001", "mine", "fine_tune_splits", "sft", "later", "exact"),
        ("mine-0001", "mine", "prompts", "", "ours", "contained"),
        ("mine-0002", "mine", "prompts", "", "ours", "tfidf"),
    ]
    page = (made.settings.reports / "decontamination.md").read_text()
    assert all(prompt_id in page for prompt_id in rows["prompt_id"])
    assert "prompts mine-0001" in page
    shown = latest(made, "decontamination_report")
    assert shown["rows_removed"] == rows.height
    assert shown["not_checked_with_the_present_sets"] == 1


def test_the_evaluation_sets_themselves_are_not_in_the_lake(made: Site) -> None:
    for file in Path(str(made.lake.root)).rglob("*.parquet"):
        assert BODY not in str(pl.read_parquet(file).drop("detail", strict=False).to_dicts())


def test_the_split_report_counts_every_row_and_its_check_passes(made: Site) -> None:
    rows = made.lake.all_rows(Stage.FINE_TUNE_SPLITS)
    assert rows is not None
    shown = latest(made, "split_report")
    assert shown["rows"] == rows.height
    crossed = pl.read_parquet(made.settings.reports / "splits.parquet")
    assert crossed.filter(policy="respect_and_helpfulness")["rows"].sum() == rows.height
    assert "simulated" in shown
    assert split_check(made) == (True, "Every cluster is in one split")
    assert "Rows by source" in made.metadata("fine_tune_splits", "mine-0001")


def test_rows_know_what_kind_of_prompt_they_answer(made: Site) -> None:
    grades = {
        row["prompt_id"]: row["prompt_kind"]
        for row in made.lake.rows("cot_grades", "mine-0001").to_dicts()
    }
    rows = from_frame(made.lake.rows(Stage.FINE_TUNE_SPLITS, "mine-0001"), FineTuneRow)
    assert {row.prompt_kind for row in rows if row.kind == "sft"} <= set(grades.values())
    assert all(row.prompt_kind == grades[row.prompt_id] for row in rows)


def test_a_cluster_in_two_splits_fails_the_check_by_name(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        site.lake.write(Stage.FINE_TUNE_SPLITS, "mine-0001", _rows_of_one_cluster("train", "test"))
        assert run_job(site.instance, "build_reports").success
        passed, told = split_check(site)
        assert not passed
        assert "1 clusters and 0 prompts are in more than one split: c1" in told


def test_a_set_that_cannot_be_read_stops_the_run_and_nothing_is_taken_up(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(2)))
        with_evaluation_set(site, KILL)
        (tmp_path / "ours.jsonl").unlink()
        run = site.make("mine-0001")
        assert not run.success
        assert "evaluation set 'ours'" in run.error
        assert "ours.jsonl: cannot be read: there is no such file" in run.error
        assert not site.lake.has(Stage.PROMPTS, "mine-0001")


def test_without_an_evaluation_set_it_says_that_nothing_was_checked(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(2)))
        assert run_job(
            site.instance, "make_batch", partition="mine-0001", stages=[Stage.PROMPTS]
        ).success
        assert "checked against none" in site.metadata("prompts", "mine-0001")["decontamination"]
        assert (
            decontamination_version(site.settings)
            == checked_version(site.lake, Stage.PROMPTS, "mine-0001")
            == "none"
        )


def test_the_version_is_of_the_sets_contents_and_the_thresholds(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        with_evaluation_set(site, KILL)
        first = decontamination_version(site.settings)
        (tmp_path / "ours.jsonl").write_text(json.dumps({"question": BODY}) + "\n")
        second = decontamination_version(site.settings)
        looser = site.settings.decontamination.model_copy(update={"tfidf_threshold": 0.6})
        third = decontamination_version(
            site.settings.model_copy(update={"decontamination": looser})
        )
        assert len({first, second, third, "none"}) == 4


def test_a_prompt_between_two_splits_is_in_neither(tmp_path: Path) -> None:
    shares = SplitSettings(validation=0.1, test=0.4)
    clusters = {assign_split(f"c{n}", shares): f"c{n}" for n in range(100)}
    with a_site(tmp_path, rehearsal=FAULTLESS, splits={"validation": 0.1, "test": 0.4}) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
        sealed = from_frame(site.lake.rows("ingested", "mine-0001"), Prompt)
        bridge = {"cluster": clusters["train"], "near_clusters": (clusters["test"],)}
        site.lake.write(
            "ingested",
            "mine-0001",
            to_frame([sealed[0].model_copy(update=bridge), *sealed[1:]], Prompt),
        )
        assert site.make("mine-0001").error == ""
        left_out = site.lake.failures(Stage.FINE_TUNE_SPLITS, "mine-0001")
        assert left_out.select("prompt_id", "reason", "detail").rows() == [
            (sealed[0].prompt_id, "bridges_splits", f"{kind}: near to prompts of test and train")
            for kind in ("sft", "dpo")
        ]
        assert (
            sealed[0].prompt_id
            not in site.lake.rows(Stage.FINE_TUNE_SPLITS, "mine-0001")["prompt_id"]
        )


def _rows_of_one_cluster(*splits: str) -> pl.DataFrame:
    rows = [
        an_sft_row(prompt_id=f"p{n}", cluster="c1", split=split) for n, split in enumerate(splits)
    ]
    return to_frame(rows, FineTuneRow)


def test_a_new_evaluation_set_makes_finished_batches_unfinished_and_costs_no_call(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, rehearsal=FAULTLESS) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
        assert site.make("mine-0001").error == ""
        assert unfinished(site.instance, site.lake, site.settings, site.batches) == {}
        with_evaluation_set(site, some_prompts(1)[0])
        assert (
            Stage.PROMPTS
            in unfinished(site.instance, site.lake, site.settings, site.batches)["mine-0001"]
        )
        assert site.make("mine-0001").error == ""
        assert unfinished(site.instance, site.lake, site.settings, site.batches) == {}
        assert site.metadata("seed_cots", "mine-0001")["calls_made"] == 0
        assert site.lake.rows(Stage.FINE_TUNE_SPLITS, "mine-0001")["prompt_id"].n_unique() == 2
