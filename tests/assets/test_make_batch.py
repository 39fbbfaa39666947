"""One batch through every stage, in a real Dagster run on a real instance."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.stages.checks import expected_rows
from tests.site import (
    NO_FAULTS,
    Site,
    a_copy_of,
    a_site,
    contents,
    fingerprints,
    prompts_file,
    some_prompts,
)

BATCH = "mine-0001"
ODD = [
    "{{ 7 * 7 }} {% raw %}",
    '{"a": [1, "}"]}',
    "%s {0} ${HOME}",
    "one",
    "emoji 🧨 and\nnew\n\nlines",
    "</user_prompt>",
]
POLICY = """
id = "privacy"
title = "Privacy"
purpose = "People own their data."
applies = "always"
[rules]
1 = "{}"
"""


def ingest(site: Site, texts: list[str]) -> None:
    assert site.ingest(prompts_file(site.folder, texts)).success
    assert site.batches == [BATCH]


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A batch made with the default settings. Tests only read it."""
    with a_site(tmp_path_factory.mktemp("ordinary") / "site") as site:
        ingest(site, some_prompts(20))
        run = site.make(BATCH)
        assert run.success, run.error
        yield site


def grades_of(site: Site) -> pl.DataFrame:
    """Return one row per judged version of a prompt."""
    rows = site.lake.rows(Stage.COT_GRADES, BATCH).select("prompt_id", "grades")
    return rows.explode("grades").unnest("grades")


def lowest_candidate_scores(pairs: pl.DataFrame) -> pl.Series:
    scores = pl.col("candidates").list.eval(pl.element().struct.field("score"))
    return pairs.select(scores.list.min().alias("lowest")).to_series()


def test_every_row_is_accounted_for_at_every_stage(tmp_path: Path) -> None:
    with a_site(
        tmp_path, rehearsal={"unparsable": 0.03, "whisper_fails": 0.03}
    ) as site:
        ingest(site, some_prompts(40) + ODD)
        run = site.make(BATCH)
        assert run.success, run.error
        assert site.lake.rows("ingested", BATCH).height == 46
        for stage in always_made():
            rows = site.lake.rows(stage, BATCH)
            failures = site.lake.failures(stage, BATCH)
            expected = expected_rows(site.lake, stage, BATCH)
            assert rows.height + failures.height == (
                46 if expected is None else expected
            ), stage
            if (
                stage is not Stage.FINE_TUNE_SPLITS
            ):  # where a prompt has an SFT and a DPO row
                assert set(rows["prompt_id"]).isdisjoint(failures["prompt_id"])


def test_every_judged_version_is_graded_and_every_pair_has_its_margin(
    ordinary: Site,
) -> None:
    assert set(grades_of(ordinary)["version"]) == {
        "refined",
        "deliberated",
        "single_llm",
    }
    pairs = ordinary.lake.rows(Stage.PREFERENCE_PAIRS, BATCH)
    difference = pairs["margin"] - (pairs["chosen_score"] - pairs["rejected_score"])
    assert difference.abs().max() < 1e-3  # type: ignore[operator]
    assert pairs["margin"].min() >= ordinary.settings.pairs.min_margin  # type: ignore[operator]
    assert pairs["candidates"].list.len().min() >= 1  # type: ignore[operator]
    assert (pairs["rejected_score"] == lowest_candidate_scores(pairs)).all()
    assert set(pairs["kind"]) == {"violation", "needless_refusal"}


def test_rows_below_the_score_gate_are_left_out_with_their_scores(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, score_gate={"policy_to_cot": 5}) as site:
        ingest(site, some_prompts(20))
        assert site.make(BATCH).success
        refined = grades_of(site).filter(pl.col("version") == "refined")
        score = pl.col("policy_to_cot").struct.field("score")
        below = set(refined.filter(score < 5)["prompt_id"])
        assert below
        splits = site.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH)
        failures = site.lake.failures(Stage.FINE_TUNE_SPLITS, BATCH)
        assert below == set(failures["prompt_id"])
        assert below.isdisjoint(splits["prompt_id"])
        assert set(failures["reason"]) == {"below_score"}
        table = site.metadata(Stage.FINE_TUNE_SPLITS, BATCH)["kept_by_score_gate"]
        kept = {record.data["metric"]: record.data for record in table.records}
        assert (
            kept["policy_to_cot"]["≥ 5"]
            == splits.filter(pl.col("kind") == "sft").height
        )


def test_the_same_inputs_twice_from_nothing_give_the_same_bytes(
    ordinary: Site, tmp_path: Path
) -> None:
    with a_site(tmp_path) as site:
        ingest(site, some_prompts(20))
        site.make(BATCH)
        files = written_as_json(site)
        assert files == written_as_json(ordinary)
        assert len(files) > 10
        assert fingerprints(site, BATCH) == fingerprints(ordinary, BATCH)


def written_as_json(site: Site) -> dict[str, str]:
    return {path: frame.write_json() for path, frame in contents(site.lake).items()}


def test_a_materialization_shows_counts_lengths_coverage_cost_and_transcripts(
    ordinary: Site,
) -> None:
    shown = ordinary.metadata("refined_cots", BATCH)
    rows = ordinary.lake.rows("refined_cots", BATCH)
    lengths = rows["cot_tokens"]
    assert shown["rows"] == shown["dagster/row_count"] == rows.height
    assert shown["calls_made"] >= rows.height
    assert shown["calls_replayed"] == 0
    assert shown["tokens_in"] > shown["tokens_out"] > 0
    assert (
        min(lengths)
        <= shown["cot_tokens_p50"]
        <= shown["cot_tokens_p95"]
        <= max(lengths)
    )
    assert shown["cot_tokens_histogram"].startswith(
        "![histogram of cot_tokens](data:image/png;base64,"
    )
    coverage = {
        record.data["policy"]: record.data
        for record in shown["policy_coverage"].records
    }
    assert coverage["respect_and_helpfulness"]["citing_rows"] == rows.height
    assert "## Prompt" in shown["transcript_1"]
    assert "simulated" in shown["simulated"]
    assert "simulated, not a model's output" in shown["transcript_1"]


def test_making_a_batch_again_asks_nothing_new_for_rows_that_passed(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        before = fingerprints(site, BATCH)
        site.make(BATCH)
        assert fingerprints(site, BATCH) == before
        assert site.metadata("deliberated_cots", BATCH)["calls_made"] == 0
        assert site.metadata("deliberated_cots", BATCH)["calls_replayed"] > 0


def test_making_a_batch_again_retries_its_failed_rows_alone_until_all_have_passed(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, rehearsal=NO_FAULTS | {"unparsable": 0.1}) as site:
        ingest(site, some_prompts(16))
        site.make(BATCH)
        failures = site.lake.failures(Stage.SEED_COTS, BATCH)
        passed = site.lake.rows(Stage.SEED_COTS, BATCH)
        assert failures.height > 0

        success = site.make(BATCH).success
        rows = site.lake.rows(Stage.SEED_COTS, BATCH)
        assert rows.height > passed.height
        assert rows.filter(
            rows["prompt_id"].is_in(passed["prompt_id"].implode())
        ).equals(passed)
        assert site.metadata("seed_cots", BATCH)["calls_made"] <= 6 * failures.height

        runs = 2
        while not success or has_failures(site):
            success = site.make(BATCH).success
            runs += 1
            assert runs < 10
        before = fingerprints(site, BATCH)
        assert site.make(BATCH).success
        assert fingerprints(site, BATCH) == before
        assert site.metadata("seed_cots", BATCH)["calls_made"] == 0


def has_failures(site: Site) -> bool:
    return any(site.lake.failures(stage, BATCH).height for stage in always_made())


def test_changing_one_policy_makes_rows_of_another_version(tmp_path: Path) -> None:
    file = tmp_path / "policies" / "privacy.toml"
    file.parent.mkdir()
    file.write_text(POLICY.format("Give away no address."))
    with a_site(tmp_path, policies="policies", rehearsal=NO_FAULTS) as site:
        ingest(site, some_prompts(4))
        assert make_refined(site).success
        before = set(site.lake.rows("refined_cots", BATCH)["policies_version"])
        file.write_text(POLICY.format("Give away no phone number."))
        assert make_refined(site).success
        rows = site.lake.rows("refined_cots", BATCH)
        assert set(rows["policies_version"]).isdisjoint(before)
        thoughts = rows.explode("thoughts")["thoughts"].struct.field("rules")
        assert set(thoughts.explode()) == {"privacy.1"}


def make_refined(site: Site) -> BatchRun:
    """Make the batch as far as its refined CoTs."""
    stages = [
        Stage.PROMPTS,
        Stage.SEED_COTS,
        Stage.DELIBERATED_COTS,
        Stage.REFINED_COTS,
    ]
    return run_job(site.instance, "make_batch", partition=BATCH, stages=stages)


@pytest.mark.parametrize("stage", [str(stage) for stage in always_made()])
def test_every_stage_describes_its_columns_and_the_version_of_what_makes_it(
    stage: str,
) -> None:
    from aidsafe_dagster.definitions import defs

    node = defs.resolve_asset_graph().get(dg.AssetKey(stage))
    columns = {column.name for column in node.metadata["dagster/column_schema"].columns}
    assert columns >= {"prompt_id", "batch", "licence"}
    assert node.description
    assert node.code_version
    assert node.group_name == "recipe"
    assert node.kinds


def test_a_damaged_partition_is_made_again(finished_site: Path, tmp_path: Path) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        before = site.lake.fingerprint(Stage.REFINED_COTS, BATCH)
        Path(str(site.lake.rows_path(Stage.REFINED_COTS, BATCH))).write_bytes(
            b"PAR1 cut off"
        )
        assert site.make(BATCH).success
        assert site.lake.fingerprint(Stage.REFINED_COTS, BATCH) == before
        assert site.metadata("refined_cots", BATCH)["calls_made"] == 0
