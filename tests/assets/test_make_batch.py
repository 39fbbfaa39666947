"""One batch through every stage, in a real Dagster run on a real instance."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.stages.checks import expected_rows
from tests.site import Site, a_site, contents, prompts_file, some_prompts

ODD = [
    "{{ 7 * 7 }} {% raw %}",
    '{"a": [1, "}"]}',
    "%s {0} ${HOME}",
    "one",
    "emoji 🧨 and\nnew\n\nlines",
    "</user_prompt>",
]


def a_batch(site: Site, texts: list[str]) -> str:
    assert site.ingest(prompts_file(site.folder, texts)).success
    return "mine-0001"


def test_every_row_is_accounted_for_at_every_stage(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal={"unparsable": 0.03, "whisper_fails": 0.03}) as site:
        batch = a_batch(site, some_prompts(40) + ODD)
        run = site.make(batch)
        assert run.success, run.error
        assert site.lake.rows("ingested", batch).height == 46
        for stage in Stage:
            rows, failures = site.lake.rows(stage, batch), site.lake.failures(stage, batch)
            given = expected_rows(site.lake, stage, batch)
            assert rows.height + failures.height == (46 if given is None else given), stage
            if stage is not Stage.FINE_TUNE_SPLITS:  # where a prompt has an SFT row and a DPO row
                assert set(rows["prompt_id"]).isdisjoint(failures["prompt_id"])


def test_every_judged_version_is_graded_and_every_pair_has_its_margin(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        batch = a_batch(site, some_prompts(20))
        assert site.make(batch).success
        grades = _grades(site, batch)
        assert set(grades["version"]) == {"refined", "deliberated", "single_llm"}
        pairs = site.lake.rows(Stage.PREFERENCE_PAIRS, batch)
        difference = pairs["margin"] - (pairs["chosen_score"] - pairs["rejected_score"])
        assert difference.abs().max() < 1e-3  # type: ignore[operator]
        assert pairs["margin"].min() >= site.settings.pairs.min_margin  # type: ignore[operator]
        assert pairs["candidates"].list.len().min() >= 1  # type: ignore[operator]
        assert (pairs["rejected_score"] == _lowest_candidate(pairs)).all()
        assert set(pairs["kind"]) == {"violation", "needless_refusal"}


def _grades(site: Site, batch: str) -> pl.DataFrame:
    return (
        site.lake.rows(Stage.COT_GRADES, batch)
        .select("prompt_id", "grades")
        .explode("grades")
        .unnest("grades")
    )


def _lowest_candidate(pairs: pl.DataFrame) -> pl.Series:
    return pairs.select(
        pl.col("candidates")
        .list.eval(pl.element().struct.field("score"))
        .list.min()
        .alias("lowest")
    ).to_series()


def test_rows_below_the_score_gate_are_left_out_with_their_scores(tmp_path: Path) -> None:
    with a_site(tmp_path, score_gate={"policy_to_cot": 5}) as site:
        batch = a_batch(site, some_prompts(20))
        assert site.make(batch).success
        grades = _grades(site, batch)
        of_refined = grades.filter(pl.col("version") == "refined")
        low = set(of_refined.filter(pl.col("policy_to_cot").struct.field("score") < 5)["prompt_id"])
        assert low
        splits, failures = (
            site.lake.rows(Stage.FINE_TUNE_SPLITS, batch),
            site.lake.failures(Stage.FINE_TUNE_SPLITS, batch),
        )
        assert low == set(failures["prompt_id"])
        assert low.isdisjoint(splits["prompt_id"])
        assert set(failures["reason"]) == {"below_score"}
        kept = {
            line.data["metric"]: line.data
            for line in site.metadata(Stage.FINE_TUNE_SPLITS, batch)["kept_by_score_gate"].records
        }
        assert kept["policy_to_cot"]["≥ 5"] == splits.filter(pl.col("kind") == "sft").height


def test_the_same_inputs_twice_from_nothing_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        with a_site(tmp_path / name) as site:
            site.make(a_batch(site, some_prompts(12)))
            made.append({path: frame.write_json() for path, frame in contents(site.lake).items()})
            made[-1] |= {str(s): site.lake.fingerprint(s, "mine-0001") for s in Stage}
    assert made[0] == made[1]
    assert len(made[0]) > 10


def test_a_materialization_shows_counts_lengths_coverage_cost_and_transcripts(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        batch = a_batch(site, some_prompts(15))
        site.make(batch)
        shown = site.metadata("refined_cots", batch)
        rows = site.lake.rows("refined_cots", batch)
        assert shown["rows"] == shown["dagster/row_count"] == rows.height
        assert shown["calls_made"] >= rows.height
        assert shown["calls_replayed"] == 0
        assert shown["tokens_in"] > shown["tokens_out"] > 0
        assert (
            min(rows["cot_tokens"])
            <= shown["cot_tokens_p50"]
            <= shown["cot_tokens_p95"]
            <= max(rows["cot_tokens"])
        )
        assert shown["cot_tokens_histogram"].startswith(
            "![histogram of cot_tokens](data:image/png;base64,"
        )
        coverage = {
            record.data["policy"]: record.data for record in shown["policy_coverage"].records
        }
        assert coverage["respect_and_helpfulness"]["citing_rows"] == rows.height
        assert "## Prompt" in shown["transcript_1"]
        assert "simulated" in shown["simulated"]
        assert "simulated, not a model's output" in shown["transcript_1"]


def test_making_a_batch_again_asks_nothing_new_for_rows_that_passed(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=_without_faults()) as site:
        batch = a_batch(site, some_prompts(10))
        site.make(batch)
        before = {str(stage): site.lake.fingerprint(stage, batch) for stage in Stage}
        site.make(batch)
        assert {str(stage): site.lake.fingerprint(stage, batch) for stage in Stage} == before
        assert site.metadata("deliberated_cots", batch)["calls_made"] == 0
        assert site.metadata("deliberated_cots", batch)["calls_replayed"] > 0


def test_making_a_batch_again_retries_its_failed_rows_alone(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=_without_faults() | {"unparsable": 0.1}) as site:
        batch = a_batch(site, some_prompts(40))
        site.make(batch)
        failed = site.lake.failures(Stage.SEED_COTS, batch)
        passed = site.lake.rows(Stage.SEED_COTS, batch)
        assert failed.height > 0
        site.make(batch)
        again = site.lake.rows(Stage.SEED_COTS, batch)
        assert again.height > passed.height
        assert again.filter(again["prompt_id"].is_in(passed["prompt_id"].implode())).equals(passed)
        assert site.metadata("seed_cots", batch)["calls_made"] <= 6 * failed.height


def test_a_row_that_passed_at_a_second_draw_stays_as_it_is(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=_without_faults() | {"unparsable": 0.1}) as site:
        batch = a_batch(site, some_prompts(25))
        runs = 1
        while not site.make(batch).success or any(
            site.lake.failures(stage, batch).height for stage in Stage
        ):
            runs += 1
            assert runs < 10
        assert runs > 1
        before = {str(stage): site.lake.fingerprint(stage, batch) for stage in Stage}
        assert site.make(batch).success
        assert {str(stage): site.lake.fingerprint(stage, batch) for stage in Stage} == before
        assert site.metadata("seed_cots", batch)["calls_made"] == 0


def test_changing_one_policy_makes_rows_of_another_version(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    text = 'id = "privacy"\ntitle = "Privacy"\npurpose = "People own their data."\napplies = "always"\n[rules]\n1 = "{}"\n'
    (policies / "privacy.toml").write_text(text.format("Give away no address."))
    with a_site(tmp_path, policies="policies") as site:
        batch = a_batch(site, some_prompts(4))
        site.make(batch)
        before = set(site.lake.rows("refined_cots", batch)["policies_version"])
        (policies / "privacy.toml").write_text(text.format("Give away no phone number."))
        assert site.make(batch).success
        rows = site.lake.rows("refined_cots", batch)
        assert set(rows["policies_version"]).isdisjoint(before)
        assert {
            rule for thoughts in rows["thoughts"].to_list() for t in thoughts for rule in t["rules"]
        } == {"privacy.1"}


@pytest.mark.parametrize("stage", [str(stage) for stage in Stage])
def test_every_stage_describes_its_columns_and_the_version_of_what_makes_it(stage: str) -> None:
    from aidsafe_dagster.definitions import defs

    node = defs.resolve_asset_graph().get(dg.AssetKey(stage))
    assert {column.name for column in node.metadata["dagster/column_schema"].columns} >= {
        "prompt_id",
        "batch",
        "licence",
    }
    assert node.description
    assert node.code_version
    assert node.group_name == "recipe"
    assert node.kinds


def _without_faults() -> dict[str, float]:
    names = (
        "unparsable",
        "malformed_once",
        "refusal",
        "missing_policy",
        "over_filtered",
        "agent_talk",
        "whisper_fails",
    )
    return dict.fromkeys(names, 0.0)


def test_a_damaged_partition_is_made_again(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=_without_faults()) as site:
        batch = a_batch(site, some_prompts(4))
        site.make(batch)
        before = site.lake.fingerprint(Stage.REFINED_COTS, batch)
        Path(str(site.lake.rows_path(Stage.REFINED_COTS, batch))).write_bytes(b"PAR1 cut off")
        assert site.make(batch).success
        assert site.lake.fingerprint(Stage.REFINED_COTS, batch) == before
        assert site.metadata("refined_cots", batch)["calls_made"] == 0
