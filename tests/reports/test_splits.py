from pathlib import Path

import polars as pl

from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings
from aidsafe_dagster.recipe.records import (
    Derivation,
    FailureReason,
    FineTuneRow,
    Record,
    RefinedCot,
    Stage,
)
from aidsafe_dagster.reports.sections import Section, Table
from aidsafe_dagster.reports.splits import (
    COLUMNS,
    build_split_tables,
    count_strata,
    find_spanning,
    split_sections,
    with_policies,
)
from tests.builders import a_dpo_row, a_failure, a_refined_cot, an_sft_row
from tests.reports.builders import a_dataset, column, find_table

SETTINGS = SplitSettings(validation=0.25, test=0.25)


def a_frame(*rows: FineTuneRow, refined: tuple[RefinedCot, ...] = ()) -> pl.DataFrame:
    return with_policies(to_frame(rows, FineTuneRow), to_frame(refined, RefinedCot))


ROWS = a_frame(
    an_sft_row(
        prompt_id="p1", cluster="c1", split="train", prompt_kind="harmful", source="a"
    ),
    an_sft_row(
        prompt_id="p2", cluster="c1", split="train", prompt_kind="benign", source="b"
    ),
    a_dpo_row(
        prompt_id="p2", cluster="c1", split="train", prompt_kind="benign", source="b"
    ),
    an_sft_row(
        prompt_id="p3", cluster="", split="test", prompt_kind="benign", source="b"
    ),
    refined=(
        a_refined_cot(prompt_id="p1", applicable_policies=("fraud", "illegal")),
        a_refined_cot(prompt_id="p2", applicable_policies=("illegal",)),
        a_refined_cot(prompt_id="p3", applicable_policies=()),
    ),
)


def table(
    title: str, rows: pl.DataFrame = ROWS, settings: SplitSettings = SETTINGS
) -> Table:
    return find_table(Section("", tables=build_split_tables(rows, settings)), title)


def test_shares_are_of_clusters_and_stand_beside_the_settings() -> None:
    assert table("Shares of the splits").rows == (
        ("train", "50 %", "50.0 %", "1", "2", "2", "1"),
        ("validation", "25 %", "0.0 %", "0", "0", "0", "0"),
        ("test", "25 %", "50.0 %", "1", "1", "1", "0"),
    )


def test_rows_are_counted_by_policy_source_and_kind_in_every_split() -> None:
    assert table("Rows by policy").rows == (
        ("(none)", "0", "0", "1", "0", "0", "0"),
        ("fraud", "1", "0", "0", "0", "0", "0"),
        ("illegal", "2", "0", "0", "1", "0", "0"),
    )
    assert table("Rows by source").rows == (
        ("a", "1", "0", "0", "0", "0", "0"),
        ("b", "1", "0", "1", "1", "0", "0"),
    )
    assert column(table("Rows by prompt kind")) == ["benign", "harmful"]


def test_strata_cross_everything() -> None:
    assert count_strata(ROWS).rows() == [
        ("test", "sft", "(none)", "b", "benign", 1, 1),
        ("train", "dpo", "illegal", "b", "benign", 1, 1),
        ("train", "sft", "fraud", "a", "harmful", 1, 1),
        ("train", "sft", "illegal", "a", "harmful", 1, 1),
        ("train", "sft", "illegal", "b", "benign", 1, 1),
    ]


def test_the_largest_clusters_are_named_with_their_sources() -> None:
    assert table("Largest clusters").rows == (("c1", "train", "a, b", "2"),)


def test_the_general_mix_shows_the_rows_that_a_ratio_leaves() -> None:
    assert table("General mix").rows == (
        ("train", "1", "1", "1"),
        ("validation", "0", "0", "0"),
        ("test", "0", "1", "1"),
    )
    with_ratio = table("General mix", settings=SplitSettings(general_ratio=0.5))
    assert with_ratio.rows == (
        ("train", "1", "1", "0"),
        ("validation", "0", "0", "0"),
        ("test", "0", "1", "0"),
    )
    assert "0.5 for each safety row" in with_ratio.note


def test_clusters_and_prompts_in_two_splits_are_found() -> None:
    assert find_spanning(ROWS, "cluster").is_empty()
    apart = a_frame(
        an_sft_row(prompt_id="p1", cluster="c1", split="train"),
        an_sft_row(prompt_id="p2", cluster="c1", split="test"),
    )
    assert find_spanning(apart, "cluster").rows() == [("c1", ["test", "train"])]
    assert find_spanning(apart, "prompt_id").is_empty()
    torn = a_frame(an_sft_row(split="train"), a_dpo_row(split="test"))
    assert find_spanning(torn, "prompt_id").rows() == [("p1", ["test", "train"])]


def test_rows_left_out_are_counted_and_failed_rows_are_not() -> None:
    failures = [
        a_failure(stage="prompts", reason=FailureReason.CONTAMINATED),
        a_failure(stage="fine_tune_splits", reason=FailureReason.BRIDGES_SPLITS),
        a_failure(stage="fine_tune_splits", reason=FailureReason.BRIDGES_SPLITS),
        a_failure(),
    ]
    frame = to_frame(failures, type(failures[0]))
    left_out = next(
        s for s in split_sections(ROWS, frame, SETTINGS) if s.title == "Left out"
    ).tables[0]
    assert left_out.rows == (
        ("fine_tune_splits", "bridges_splits", "2"),
        ("prompts", "contaminated", "1"),
    )


def test_prompts_of_an_older_release_are_their_own_clusters(
    tmp_path: Path,
) -> None:
    rows: list[Record] = [an_sft_row(prompt_id="p1"), an_sft_row(prompt_id="p2")]
    dataset = a_dataset(tmp_path, fine_tune_splits=rows)
    older = to_frame(rows, FineTuneRow).drop("cluster", "prompt_kind")
    dataset.lake.write("fine_tune_splits", "demo-0001", older)
    rows_with_policies = with_policies(
        dataset.rows(Stage.FINE_TUNE_SPLITS, *COLUMNS), to_frame((), RefinedCot)
    )
    assert rows_with_policies["cluster"].to_list() == ["p1", "p2"]
    assert set(rows_with_policies["prompt_kind"]) == {"unknown"}


def test_an_empty_dataset_has_a_report() -> None:
    empty = a_frame()
    assert table("Largest clusters", empty).rows == ()
    assert table("Shares of the splits", empty).rows[0][2] == "–"


def test_rows_are_counted_by_how_their_prompts_were_made() -> None:
    wrapper = Derivation(method="wrapper", parent="p1")
    rows = a_frame(
        an_sft_row(prompt_id="p1", split="train"),
        an_sft_row(prompt_id="p2", split="train", derivation=wrapper),
    )
    counts = table("Rows by how made", rows)
    assert column(counts, 0) == ["found", "wrapper"]
    titles = [one.title for one in build_split_tables(ROWS, SETTINGS)]
    assert "Rows by how made" not in titles
