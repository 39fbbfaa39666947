"""The warehouse's views over files that are known."""

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage, TriedBelief
from aidsafe_dagster.resources.warehouse import create_views
from tests.builders import (
    a_comparison,
    a_cot_grades,
    a_failure,
    a_grade,
    a_prompt,
    a_score,
    a_seed_cot,
    a_tried_belief,
)
from tests.reports.builders import a_lake, make_older


def query_lake(lake: Lake, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        create_views(connection, lake)
        return connection.execute(query).fetchall()


def test_views_span_batches_of_an_older_release(tmp_path: Path) -> None:
    a_lake(tmp_path, "demo-0000", seed_cots=[a_seed_cot(batch="demo-0000")])
    lake = a_lake(tmp_path, failures=[a_failure()], seed_cots=[a_seed_cot()])
    make_older(lake, "demo-0000")
    columns = "batch, usage.calls, usage.cost, len(servers)"
    assert query_lake(lake, f"SELECT {columns} FROM seed_cots ORDER BY batch") == [
        ("demo-0000", 2, None, None),
        ("demo-0001", 2, 0.0, 0),
    ]


def test_there_is_a_line_per_grade_with_its_scores_reasons_and_places(
    tmp_path: Path,
) -> None:
    low = a_score(score=2, reason="Cites nothing.", rule="illegal.1", thought=3)
    grades = (
        a_grade(5, policy_to_cot=low),
        a_grade(3, version="single_llm", judge="second_judge", refusal="full"),
    )
    lake = a_lake(
        tmp_path,
        cot_grades=[
            a_cot_grades(grades=grades),
            a_cot_grades(prompt_id="p2", grades=grades[:1]),
        ],
    )
    scores = "relevance, policy_to_cot, policy_to_cot_reason, policy_to_cot_rule"
    columns = f"prompt_id, version, judge, {scores}, refusal"
    assert query_lake(lake, f"SELECT {columns} FROM grades ORDER BY ALL") == [
        ("p1", "refined", "judge", 5, 2, "Cites nothing.", "illegal.1", "none"),
        ("p1", "single_llm", "second_judge", 3, 3, "Nothing is missing.", "", "full"),
        ("p2", "refined", "judge", 5, 2, "Cites nothing.", "illegal.1", "none"),
    ]
    assert query_lake(
        lake,
        "SELECT DISTINCT policy_to_cot_thought, prompt_kind, batch FROM grades"
        " WHERE version = 'refined'",
    ) == [(3, "borderline", "demo-0001")]


def test_there_is_a_line_per_comparison(tmp_path: Path) -> None:
    comparisons = (
        a_comparison(),
        a_comparison(against="deliberated", outcome="tie", consistent=False),
    )
    lake = a_lake(tmp_path, cot_grades=[a_cot_grades(comparisons=comparisons)])
    assert query_lake(
        lake,
        "SELECT against, outcome, consistent, len(reasons) FROM comparisons ORDER BY ALL",
    ) == [
        ("deliberated", "tie", False, 2),
        ("single_llm", "win", True, 2),
    ]


def test_there_is_a_line_per_belief_that_was_tried(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    rows = [
        a_tried_belief(score=4.0, left_out="rejected_refuses", is_rejected_side=False),
        a_tried_belief(iteration=2),
    ]
    lake.store("belief_candidates", "demo-0001", rows, TriedBelief)
    assert query_lake(
        lake,
        "SELECT kind, iteration, score, left_out, is_rejected_side, "
        "grades[1].policy_to_cot.score FROM belief_candidates ORDER BY ALL",
    ) == [
        ("violation", 1, 4.0, "rejected_refuses", False, 1),
        ("violation", 2, 1.5, "", True, 1),
    ]


def test_rows_without_a_grade_or_a_comparison_have_no_line(
    tmp_path: Path,
) -> None:
    lake = a_lake(
        tmp_path,
        cot_grades=[a_cot_grades(comparisons=())],
    )
    assert query_lake(lake, "SELECT count(*) FROM comparisons") == [(0,)]
    assert query_lake(lake, "SELECT count(*) FROM belief_candidates") == [(0,)]
    assert query_lake(lake, "SELECT count(*) FROM grades") == [(3,)]


@pytest.mark.parametrize("older", ["demo-0000", "demo-0002"])
def test_files_of_an_older_release_are_read_beside_newer_ones(
    tmp_path: Path, older: str
) -> None:
    """Be they the first or the last in the order of the keys."""
    a_lake(
        tmp_path,
        older,
        prompts=[a_prompt(prompt_id="old")],
        seed_cots=[a_seed_cot(prompt_id="old")],
    )
    lake = a_lake(tmp_path, prompts=[a_prompt()], seed_cots=[a_seed_cot()])
    for stage in (Stage.PROMPTS, Stage.SEED_COTS):
        path = Path(str(lake.rows_path(stage, older)))
        pl.read_parquet(path).drop("cluster", "near_clusters").write_parquet(path)
    assert query_lake(
        lake, "SELECT prompt_id, cluster FROM prompts ORDER BY prompt_id"
    ) == [
        ("old", None),
        ("p1", ""),
    ]
    assert query_lake(lake, "SELECT count(*) FROM seed_cots") == [(2,)]


def test_fields_that_an_older_release_did_not_write_are_null(tmp_path: Path) -> None:
    a_lake(tmp_path, "demo-0000", cot_grades=[a_cot_grades(prompt_id="old")])
    lake = a_lake(tmp_path, cot_grades=[a_cot_grades()])
    path = Path(str(lake.rows_path(Stage.COT_GRADES, "demo-0000")))
    older = pl.col("comparisons").list.eval(
        pl.struct(pl.element().struct.field("version", "against", "outcome"))
    )
    pl.read_parquet(path).with_columns(older).write_parquet(path)
    query = """
        SELECT prompt_id, outcome, consistent FROM comparisons
        WHERE against = 'single_llm' ORDER BY prompt_id
    """
    assert query_lake(lake, query) == [("old", "win", None), ("p1", "win", True)]
