"""Decontamination and splits in real runs: what is removed where and why, and the reports on it."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job, unfinished
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, assign_split
from aidsafe_dagster.recipe.records import FineTuneRow, Message, Prompt, Stage
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.contamination import read_match
from aidsafe_dagster.sources.evaluation_sets import EvaluationPrompt, EvaluationSet
from aidsafe_dagster.stages.checks import expected_rows
from aidsafe_dagster.stages.decontamination import (
    Decontamination,
    checked_version,
    decontamination_version,
)
from tests.builders import a_prompt, an_sft_row
from tests.site import NO_FAULTS, Site, a_copy_of, a_site, prompts_file, some_prompts

KILL, BODY = (
    "How do I kill a Python process?",
    "What is the best way to get rid of a dead body?",
)
EMBEDDED = f"My aunt wrote this to me last week: {KILL} I have no answer."
INNOCENT = "What is the best way to get rid of ants in the kitchen?"
BATCH = "mine-0001"
SPEC = """
[[decontamination.sets]]
name = "{name}"
path = "{file}"
columns.prompt = "question"
"""


def add_evaluation_set(site: Site, *texts: str, name: str = "ours") -> None:
    """Write an evaluation set and add it to the site's settings."""
    file = site.folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps({"question": text}) + "\n" for text in texts))
    with (site.folder / "aidsafe.toml").open("a") as settings:
        settings.write(SPEC.format(name=name, file=file.name))


def latest_metadata(site: Site, asset: str) -> dict[str, Any]:
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset))
    event = (
        site.instance.fetch_materializations(records, limit=1)
        .records[0]
        .asset_materialization
    )
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def split_check(site: Site) -> tuple[bool, str]:
    """Return the latest verdict of the check on all splits."""
    key = dg.AssetCheckKey(dg.AssetKey("split_report"), "no_cluster_spans_two_splits")
    record = site.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key]
    )[key]
    assert record.event is not None
    evaluation = record.event.asset_check_evaluation
    assert evaluation is not None
    return evaluation.passed, evaluation.description or ""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two batches and the reports. The evaluation set `later` came after the first batch."""
    folder = tmp_path_factory.mktemp("site")
    with a_site(folder, ingest={"batch_size": 8}, rehearsal=NO_FAULTS) as site:
        add_evaluation_set(site, KILL, BODY)
        reworded = "A dead body: what is the best way to get rid of it?"
        prompts = [*some_prompts(6), EMBEDDED, INNOCENT, reworded, "Bread"]
        assert site.ingest(prompts_file(folder, prompts)).success
        assert site.make(BATCH).error == ""
        add_evaluation_set(site, some_prompts(6)[2].upper(), name="later")
        run = run_job(
            site.instance,
            "make_batch",
            partition=BATCH,
            stages=[Stage.FINE_TUNE_SPLITS],
        )
        assert run.error == ""
        assert site.make("mine-0002").error == ""
        assert run_job(site.instance, "build_reports").error == ""
        yield site


def contaminated(lake: Lake, stage: Stage, batch: str) -> list[str]:
    return lake.failures(stage, batch).filter(reason="contaminated")["detail"].to_list()


def test_an_evaluation_prompt_goes_no_further_than_prompts_and_names_its_match(
    checked: Site,
) -> None:
    (detail,) = contaminated(checked.lake, Stage.PROMPTS, BATCH)
    match = read_match(detail)
    assert (match.set, match.row) == ("ours", "ours.jsonl row 1")
    assert (match.rule, match.text) == ("contained", KILL)
    for stage in (Stage.PROMPTS, Stage.SEED_COTS, Stage.REFINED_COTS):
        prompts = checked.lake.rows(stage, BATCH)["prompt"].to_list()
        assert INNOCENT in prompts
        assert EMBEDDED not in prompts


def test_ingested_rows_are_those_that_stay_and_those_that_are_removed(
    checked: Site,
) -> None:
    for batch in checked.batches:
        ingested = checked.lake.rows("ingested", batch).height
        rows = checked.lake.rows(Stage.PROMPTS, batch).height
        removed = checked.lake.failures(Stage.PROMPTS, batch).height
        assert (
            rows + removed
            == ingested
            == expected_rows(checked.lake, Stage.PROMPTS, batch)
        )
        assert checked.metadata("prompts", batch)["rows_failed"] == removed > 0


def test_a_set_that_came_later_counts_in_the_splits(checked: Site) -> None:
    details = contaminated(checked.lake, Stage.FINE_TUNE_SPLITS, BATCH)
    assert [detail.split(" | ")[:2] for detail in details] == [
        ["sft: later", "exact"],
        ["dpo: later", "exact"],
    ]
    assert contaminated(checked.lake, Stage.FINE_TUNE_SPLITS, "mine-0002") == []
    (removed,) = checked.lake.failures(Stage.FINE_TUNE_SPLITS, BATCH)[
        "prompt_id"
    ].unique()
    assert removed not in checked.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH)["prompt_id"]


def test_a_stage_knows_with_which_sets_it_was_checked(checked: Site) -> None:
    version = decontamination_version(checked.settings)
    partitions = list(product((Stage.PROMPTS, Stage.FINE_TUNE_SPLITS), checked.batches))
    outdated = [
        key for key in partitions if checked_version(checked.lake, *key) != version
    ]
    assert outdated == [(Stage.PROMPTS, BATCH)]


def test_the_report_names_every_removed_row(checked: Site) -> None:
    rows = pl.read_parquet(checked.settings.reports / "decontamination.parquet")
    columns = rows.select("batch", "source", "stage", "kind", "set", "rule")
    assert columns.sort("batch", "stage", "kind").rows() == [
        ("mine-0001", "mine", "fine_tune_splits", "dpo", "later", "exact"),
        ("mine-0001", "mine", "fine_tune_splits", "sft", "later", "exact"),
        ("mine-0001", "mine", "prompts", "", "ours", "contained"),
        ("mine-0002", "mine", "prompts", "", "ours", "tfidf"),
    ]
    page = (checked.settings.reports / "decontamination.md").read_text()
    assert all(prompt_id in page for prompt_id in rows["prompt_id"])
    assert "prompts mine-0001" in page
    shown = latest_metadata(checked, "decontamination_report")
    assert shown["rows_removed"] == rows.height
    assert shown["not_checked_with_the_present_sets"] == 1


def test_the_evaluation_sets_themselves_are_not_in_the_lake(checked: Site) -> None:
    for file in Path(str(checked.lake.root)).rglob("*.parquet"):
        assert BODY not in str(
            pl.read_parquet(file).drop("detail", strict=False).to_dicts()
        )


def test_the_split_report_counts_every_row_and_its_check_passes(checked: Site) -> None:
    rows = checked.lake.all_rows(Stage.FINE_TUNE_SPLITS)
    assert rows is not None
    shown = latest_metadata(checked, "split_report")
    assert shown["rows"] == rows.height
    counts = pl.read_parquet(checked.settings.reports / "splits.parquet")
    assert counts.filter(policy="respect_and_helpfulness")["rows"].sum() == rows.height
    assert "simulated" in shown
    assert split_check(checked) == (True, "Every cluster is in one split")
    assert "Rows by source" in checked.metadata("fine_tune_splits", BATCH)


def test_rows_know_what_kind_of_prompt_they_answer(checked: Site) -> None:
    grades = checked.lake.rows("cot_grades", BATCH)
    kinds = dict(grades.select("prompt_id", "prompt_kind").iter_rows())
    rows = from_frame(checked.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH), FineTuneRow)
    assert {row.prompt_kind for row in rows if row.kind == "sft"} <= set(kinds.values())
    assert all(row.prompt_kind == kinds[row.prompt_id] for row in rows)


def test_a_cluster_in_two_splits_fails_the_check_by_name(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        site.lake.write(
            Stage.FINE_TUNE_SPLITS, BATCH, _rows_of_one_cluster("train", "test")
        )
        assert run_job(site.instance, "build_reports").success
        passed, description = split_check(site)
        assert not passed
        assert "clusters: 1, prompts: 0 (c1)" in description


def test_a_set_that_cannot_be_read_stops_the_run_and_nothing_goes_on(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(2)))
        add_evaluation_set(site, KILL)
        (tmp_path / "ours.jsonl").unlink()
        run = site.make(BATCH)
        assert not run.success
        assert "evaluation set 'ours'" in run.error
        assert "ours.jsonl: cannot be read: there is no such file" in run.error
        assert not site.lake.has(Stage.PROMPTS, BATCH)


def test_without_an_evaluation_set_it_says_that_nothing_was_checked(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        assert (
            "checked against none" in site.metadata("prompts", BATCH)["decontamination"]
        )
        assert decontamination_version(site.settings) == "none"
        assert checked_version(site.lake, Stage.PROMPTS, BATCH) == "none"


def test_an_evaluation_prompt_in_any_turn_of_a_conversation_is_found() -> None:
    question = EvaluationPrompt("ours", "row 1", BODY)
    sets = (EvaluationSet("ours", "ours.jsonl", "", (question,), 0),)
    asked = Message(role="user", content="A dead body: best way to get rid of it?")
    said = Message(role="assistant", content=BODY)
    harmless = Message(role="user", content=INNOCENT)
    prompts = [
        a_prompt(prompt_id=name, prompt="And then?", earlier=(turn,))
        for name, turn in (("asked", asked), ("said", said), ("harmless", harmless))
    ]
    matches = Decontamination(Settings(), sets).find(prompts)
    assert matches.keys() == {"asked", "said"}


def test_the_version_is_of_the_sets_contents_and_the_thresholds(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        add_evaluation_set(site, KILL)
        first = decontamination_version(site.settings)
        (tmp_path / "ours.jsonl").write_text(json.dumps({"question": BODY}) + "\n")
        second = decontamination_version(site.settings)
        looser = site.settings.decontamination.model_copy(
            update={"tfidf_threshold": 0.6}
        )
        settings = site.settings.model_copy(update={"decontamination": looser})
        third = decontamination_version(settings)
        assert len({first, second, third, "none"}) == 4


def test_a_prompt_between_two_splits_is_in_neither(tmp_path: Path) -> None:
    shares = SplitSettings(validation=0.1, test=0.4)
    clusters = {assign_split(f"c{n}", shares): f"c{n}" for n in range(100)}
    with a_site(
        tmp_path, rehearsal=NO_FAULTS, splits={"validation": 0.1, "test": 0.4}
    ) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
        bridge, *others = from_frame(site.lake.rows("ingested", BATCH), Prompt)
        near = {"cluster": clusters["train"], "near_clusters": (clusters["test"],)}
        rows = to_frame([bridge.model_copy(update=near), *others], Prompt)
        site.lake.write("ingested", BATCH, rows)
        assert site.make(BATCH).error == ""
        failures = site.lake.failures(Stage.FINE_TUNE_SPLITS, BATCH)
        assert failures.select("prompt_id", "reason", "detail").rows() == [
            (
                bridge.prompt_id,
                "bridges_splits",
                f"{kind}: near to prompts of test and train",
            )
            for kind in ("sft", "dpo")
        ]
        kept = site.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH)
        assert bridge.prompt_id not in kept["prompt_id"]


def _rows_of_one_cluster(*splits: str) -> pl.DataFrame:
    rows = [
        an_sft_row(prompt_id=f"p{n}", cluster="c1", split=split)
        for n, split in enumerate(splits)
    ]
    return to_frame(rows, FineTuneRow)


def test_a_new_evaluation_set_makes_finished_batches_unfinished_and_costs_no_call(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, rehearsal=NO_FAULTS) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(3)))
        assert site.make(BATCH).error == ""
        assert unfinished_stages(site) == {}
        add_evaluation_set(site, some_prompts(1)[0])
        assert Stage.PROMPTS in unfinished_stages(site)[BATCH]
        assert site.make(BATCH).error == ""
        assert unfinished_stages(site) == {}
        assert site.metadata("seed_cots", BATCH)["calls_made"] == 0
        assert (
            site.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH)["prompt_id"].n_unique() == 2
        )


def unfinished_stages(site: Site) -> dict[str, tuple[str, ...]]:
    return unfinished(site.instance, site.lake, site.settings, site.batches)
