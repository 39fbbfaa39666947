from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import open_dataset
from aidsafe_dagster.reports.sample import UNKNOWN, list_exchanges, sample_deliberations
from tests.builders import (
    a_cot_grades,
    a_deliberated_cot,
    a_pair,
    a_refined_cot,
    a_seed_cot,
    a_single_llm_cot,
    a_thought,
)
from tests.reports.builders import a_lake

KINDS = ("benign", "borderline", "harmful")
ENDS: tuple[dict[str, Any], ...] = (
    {"outcome": "consensus"},
    {"outcome": "budget"},
    {"outcome": "consensus", "stalled": True},
)


def a_varied_lake(folder: Path, benign_consensus: int = 20) -> Lake:
    """One row of each kind of prompt and each way to end, and many benign ones that agreed."""
    cases = [(f"{kind}{n}", kind, end) for kind in KINDS for n, end in enumerate(ENDS)]
    cases += [(f"common{n:02}", "benign", ENDS[0]) for n in range(benign_consensus)]
    return a_lake(
        folder,
        refined_cots=[a_refined_cot(prompt_id=name) for name, _, _ in cases],
        deliberated_cots=[a_deliberated_cot(prompt_id=name, **end) for name, _, end in cases],
        cot_grades=[a_cot_grades(prompt_id=name, prompt_kind=kind) for name, kind, _ in cases],
    )


def test_a_sample_is_spread_over_kinds_of_prompts_and_ways_to_end(tmp_path: Path) -> None:
    found = sample_deliberations(open_dataset(a_varied_lake(tmp_path)), 12)
    assert len(found) == 12
    counts = Counter((one.kind, one.ended) for one in found)
    assert set(counts) == {
        (kind, ended) for kind in KINDS for ended in ("consensus", "budget", "stalled")
    }
    assert counts["benign", "consensus"] == 4


def test_the_same_rows_give_the_same_sample_and_no_row_comes_twice(tmp_path: Path) -> None:
    dataset = open_dataset(a_varied_lake(tmp_path))
    assert sample_deliberations(dataset, 15) == sample_deliberations(dataset, 15)
    ids = [one.refined.prompt_id for one in sample_deliberations(dataset, 100)]
    assert len(ids) == len(set(ids)) == 29
    assert sample_deliberations(dataset, 0) == []


def test_a_deliberation_brings_everything_that_is_known_of_its_prompt(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        seed_cots=[a_seed_cot(response="First words.")],
        deliberated_cots=[a_deliberated_cot()],
        refined_cots=[a_refined_cot()],
        cot_grades=[a_cot_grades()],
        preference_pairs=[a_pair()],
        single_llm_cots=[a_single_llm_cot()],
    )
    (found,) = sample_deliberations(open_dataset(lake), 5)
    assert found.seed is not None
    assert found.seed.response == "First words."
    assert found.grades is not None
    assert found.pair is not None
    assert found.single_llm is not None
    assert [(said.round, said.agent, len(said.thoughts)) for said in found.exchanges] == [
        (0, "initializer", 2),
        (1, "deliberator_1", 1),
        (1, "deliberator_2", 0),
    ]
    assert {number: judged.verdict for number, judged in found.judgements.items()} == {
        1: "keep",
        2: "keep",
        3: "redundant",
    }


def test_what_was_not_made_is_missing_from_the_story_and_no_more(tmp_path: Path) -> None:
    (found,) = sample_deliberations(open_dataset(a_lake(tmp_path, refined_cots=[a_refined_cot()])), 5)
    assert (found.kind, found.ended) == (UNKNOWN, "unknown")
    assert (found.seed, found.grades, found.pair, found.single_llm) == (None, None, None, None)
    assert [said.agent for said in found.exchanges] == ["initializer", "deliberator_1"]


def test_a_row_of_an_older_release_is_left_out_of_the_story(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, refined_cots=[a_refined_cot()], preference_pairs=[a_pair()])
    for stage, columns in (
        (Stage.PREFERENCE_PAIRS, ["margin"]),
        (Stage.REFINED_COTS, ["near_clusters", "cluster"]),
    ):
        path = Path(str(lake.rows_path(stage, "demo-0001")))
        pl.read_parquet(path).drop(columns).write_parquet(path)
    (found,) = sample_deliberations(open_dataset(lake), 5)
    assert found.pair is None
    assert found.refined.prompt == a_refined_cot().prompt


def test_thoughts_of_a_round_table_follow_the_agent_whose_they_are() -> None:
    thoughts = (
        a_thought(),
        a_thought(number=2, agent="deliberator_3", round=1),
        a_thought(number=3, agent="deliberator_1", round=1),
    )
    found = list_exchanges(thoughts, ())
    assert [(said.agent, [thought.number for thought in said.thoughts]) for said in found] == [
        ("initializer", [1]),
        ("deliberator_3", [2]),
        ("deliberator_1", [3]),
    ]
