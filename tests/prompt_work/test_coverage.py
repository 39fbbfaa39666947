"""What the prompts of a lake cover, known from how the lake was made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.prompt_work.coverage import Cell, Coverage, measure_coverage
from aidsafe_dagster.recipe.records import Derivation, Intent, Prompt
from aidsafe_dagster.sources.tables import INGESTED
from tests.builders import (
    a_prompt,
    a_refined_cot,
    a_refined_thought,
    a_seed_cot,
    a_thought,
    policies,
)
from tests.reports.builders import BATCH, a_lake


def with_prompts(lake: Lake, prompts: Sequence[Prompt]) -> Lake:
    lake.store(INGESTED, BATCH, prompts, Prompt)
    return lake


def coverage_of(lake: Lake, engine: str = "endpoint") -> Coverage:
    return measure_coverage(lake, policies(), engine)


def an_intent(harm: Any, kind: Any = "explicit") -> Intent:
    return Intent(text="To know.", kind=kind, harm=harm, policies=())


def grown(prompt_id: str, **changes: Any) -> Prompt:
    values = {"method": "grown", "rule": "illegal.2", "kind": "harmful", **changes}
    derivation = Derivation.model_validate(values)
    return a_prompt(prompt_id=prompt_id, derivation=derivation, prompt=prompt_id)


def test_a_prompt_touches_what_its_final_thoughts_cite(tmp_path: Path) -> None:
    intents = (an_intent("malicious"),)
    seed = a_seed_cot(intents=intents, thoughts=(a_thought(rules=("illegal.1",)),))
    final = a_refined_cot(
        intents=intents, thoughts=(a_refined_thought(rules=("illegal.2",)),)
    )
    lake = a_lake(tmp_path, seed_cots=[seed], refined_cots=[final])
    coverage = coverage_of(with_prompts(lake, [a_prompt()]))
    assert coverage.counts == {
        Cell("rule", "illegal.2", "harmful"): 1,
        Cell("category", "locks", "harmful"): 1,
    }
    assert coverage.made == 1
    assert "illegal.1" in coverage.untouched_rules


def test_until_there_is_a_final_one_the_first_thoughts_count(tmp_path: Path) -> None:
    seed = a_seed_cot(
        intents=(an_intent("malicious", "implicit"),),
        thoughts=(a_thought(rules=("illegal.1",)),),
    )
    lake = a_lake(tmp_path, seed_cots=[seed])
    coverage = coverage_of(with_prompts(lake, [a_prompt()]))
    assert coverage.counts[Cell("rule", "illegal.1", "borderline")] == 1


def test_of_a_prompt_that_is_not_made_the_category_alone_is_known(
    tmp_path: Path,
) -> None:
    prompts = [a_prompt(category="locks; burglary")]
    coverage = coverage_of(with_prompts(a_lake(tmp_path), prompts))
    assert coverage.counts == {}
    assert coverage.waiting == {"locks": 1, "burglary": 1}
    assert coverage.untouched_rules == policies().rule_ids


def test_a_grown_prompt_counts_for_what_it_was_grown_for(tmp_path: Path) -> None:
    lake = with_prompts(a_lake(tmp_path), [grown("a"), grown("b", kind="benign")])
    counts = coverage_of(lake).counts
    assert counts[Cell("rule", "illegal.2", "harmful")] == 1
    assert counts[Cell("rule", "illegal.2", "benign")] == 1


def test_once_made_a_grown_prompt_is_of_the_kind_of_its_intents(tmp_path: Path) -> None:
    seed = a_seed_cot(
        intents=(an_intent("benign"),), thoughts=(a_thought(rules=("helpfulness.1",)),)
    )
    lake = a_lake(tmp_path, seed_cots=[seed])
    counts = coverage_of(with_prompts(lake, [grown("p1")])).counts
    # It stays near to the rule that it was grown for.
    assert counts[Cell("rule", "illegal.2", "benign")] == 1
    assert counts[Cell("rule", "helpfulness.1", "benign")] == 1
    assert Cell("rule", "illegal.2", "harmful") not in counts


def test_what_a_rehearsal_wrote_counts_for_a_rehearsal_alone(tmp_path: Path) -> None:
    lake = with_prompts(a_lake(tmp_path), [grown("a", simulated=True)])
    assert coverage_of(lake, "rehearsal").counts
    assert not coverage_of(lake, "endpoint").counts


def test_a_jailbreak_around_a_prompt_is_no_further_prompt(tmp_path: Path) -> None:
    prompts = [a_prompt(), grown("w", method="wrapper", parent="p1")]
    coverage = coverage_of(with_prompts(a_lake(tmp_path), prompts))
    assert [prompt.prompt_id for prompt in coverage.prompts] == ["p1"]
