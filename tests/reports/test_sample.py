from collections import Counter
from itertools import product
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
    cases: list[tuple[str, str, dict[str, Any]]] = []
    for kind, end in product(KINDS, ENDS):
        cases.append(
            (
                f"{kind}{len(cases)}",
                kind,
                end,
            )
        )
    cases += [(f"common{n:02}", "benign", ENDS[0]) for n in range(benign_consensus)]
    return a_lake(
        folder,
        refined_cots=[a_refined_cot(prompt_id=name) for name, _, _ in cases],
        deliberated_cots=[
            a_deliberated_cot(prompt_id=name, **end) for name, _, end in cases
        ],
        cot_grades=[
            a_cot_grades(prompt_id=name, prompt_kind=kind) for name, kind, _ in cases
        ],
    )


def test_a_sample_is_spread_over_kinds_of_prompts_and_ways_to_end(
    tmp_path: Path,
) -> None:
    sample = sample_deliberations(open_dataset(a_varied_lake(tmp_path)), 12)
    assert len(sample) == 12
    counts = Counter((item.kind, item.ended) for item in sample)
    assert set(counts) == set(product(KINDS, ("consensus", "budget", "stalled")))
    assert counts["benign", "consensus"] == 4


def test_a_sample_is_reproducible_and_has_no_duplicates(tmp_path: Path) -> None:
    dataset = open_dataset(a_varied_lake(tmp_path))
    assert sample_deliberations(dataset, 15) == sample_deliberations(dataset, 15)
    ids = [item.refined.prompt_id for item in sample_deliberations(dataset, 100)]
    assert len(ids) == len(set(ids)) == 29
    assert sample_deliberations(dataset, 0) == []


def test_a_deliberation_has_every_record_of_its_prompt(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        seed_cots=[a_seed_cot(response="First words.")],
        deliberated_cots=[a_deliberated_cot()],
        refined_cots=[a_refined_cot()],
        cot_grades=[a_cot_grades()],
        preference_pairs=[a_pair()],
        single_llm_cots=[a_single_llm_cot()],
    )
    (sample,) = sample_deliberations(open_dataset(lake), 5)
    assert sample.seed is not None
    assert sample.seed.response == "First words."
    assert sample.grades is not None
    assert sample.pair is not None
    assert sample.single_llm is not None
    assert [
        (exchange.round, exchange.agent, len(exchange.thoughts))
        for exchange in sample.exchanges
    ] == [
        (0, "initializer", 2),
        (1, "deliberator_1", 1),
        (1, "deliberator_2", 0),
    ]
    assert {
        number: judgement.verdict for number, judgement in sample.judgements.items()
    } == {
        1: "keep",
        2: "keep",
        3: "redundant",
    }


def test_missing_records_are_none(tmp_path: Path) -> None:
    (sample,) = sample_deliberations(
        open_dataset(a_lake(tmp_path, refined_cots=[a_refined_cot()])), 5
    )
    assert sample.kind == UNKNOWN
    assert sample.ended == "unknown"
    assert sample.seed is None
    assert sample.grades is None
    assert sample.pair is None
    assert sample.single_llm is None
    assert [exchange.agent for exchange in sample.exchanges] == [
        "initializer",
        "deliberator_1",
    ]


def test_an_unreadable_row_of_an_older_release_is_left_out(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        refined_cots=[a_refined_cot()],
        preference_pairs=[a_pair()],
    )
    for stage, columns in (
        (Stage.PREFERENCE_PAIRS, ["margin"]),
        (Stage.REFINED_COTS, ["near_clusters", "cluster"]),
    ):
        path = Path(str(lake.rows_path(stage, "demo-0001")))
        pl.read_parquet(path).drop(columns).write_parquet(path)
    (sample,) = sample_deliberations(open_dataset(lake), 5)
    assert sample.pair is None
    assert sample.refined.prompt == a_refined_cot().prompt


def test_thoughts_of_a_round_table_belong_to_their_agents() -> None:
    thoughts = (
        a_thought(),
        a_thought(number=2, agent="deliberator_3", round=1),
        a_thought(number=3, agent="deliberator_1", round=1),
    )
    exchanges = list_exchanges(thoughts, ())
    numbers = {}
    for exchange in exchanges:
        numbers[exchange.agent] = [thought.number for thought in exchange.thoughts]
    assert list(numbers.items()) == [
        ("initializer", [1]),
        ("deliberator_3", [2]),
        ("deliberator_1", [3]),
    ]
