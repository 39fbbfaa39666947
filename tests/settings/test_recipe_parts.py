"""The recipe of a stage: what bears on text counts, and where a server is does not."""

from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.batch_recipe import describe_changes
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.recipe_parts import recipe_parts
from aidsafe_dagster.settings.snapshot import take_snapshot

ENDPOINT: dict[str, Any] = {
    "engine": "endpoint",
    "endpoint": {"base_url": "http://127.0.0.1:1/v1", "model": "writer"},
    "servers": {"other": {"base_url": "http://127.0.0.1:2/v1", "model": "critic"}},
    "roles": {"judge": {"server": "other"}},
}
SAMPLED = {
    "grading": {"share": 0.2},
    "score_gate": {"policy_to_response": 1.0, "response_to_cot": 1.0},
}


def changes(folder: Path, stage: str, **changed: Any) -> tuple[str, ...]:
    """Return what differs once some settings have changed."""
    parts = []
    for settings in (ENDPOINT, merged(ENDPOINT, changed)):
        loaded = load_settings(folder, environ={}, overrides=settings).settings
        parts.append(recipe_parts(take_snapshot(loaded), stage))
    return describe_changes(*parts)


def merged(base: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changed.items():
        is_table = isinstance(value, dict)
        result[key] = merged(base.get(key, {}), value) if is_table else value
    return result


@pytest.mark.parametrize(
    "changed",
    [
        {
            "endpoint": {
                "base_url": "https://elsewhere/v1",
                "api_key_env": "OTHER_KEY",
                "timeout_s": 5,
                "slots": 3,
                "requests_per_minute": 7,
                "tokens_per_minute": 7,
                "prices": {"input": 1.0},
                "context_length": 9000,
                "end_loops": "off",
            }
        },
        {"servers": {"other": {"base_url": "https://moved/v1", "slots": 1}}},
        {"driver": {"calls_in_flight": 2}},
        {"checks": {"max_failure_share": 0.9, "min_rows": 2}},
        {"home": "elsewhere", "report": {"resamples": 100}},
        {"rehearsal": {"unparsable": 0.5}},
        # Nobody asks a moderator where agents speak in turn.
        {"roles": {"moderator": {"model": "another"}}},
        {"roles": {"deliberator_7": {"model": "another"}}},
    ],
)
def test_where_and_how_fast_a_server_is_asked_is_no_part_of_a_recipe(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    for stage in Stage:
        assert changes(tmp_path, stage, **changed) == ()


@pytest.mark.parametrize(
    ("stage", "changed", "said"),
    [
        (Stage.COT_GRADES, {"servers": {"other": {"model": "b"}}}, "model of judge: critic → b"),
        (Stage.SEED_COTS, {"endpoint": {"revision": "2"}}, "writer → writer@2"),
        (Stage.SEED_COTS, {"sampling": {"temperature": 0.9}}, "sampling.temperature: 0.7 → 0.9"),
        (Stage.SEED_COTS, {"answers": {"thoughts": 3}}, "answers.thoughts: 8 → 3"),
        (Stage.SEED_COTS, {"checks": {"min_cot_tokens": 3}}, "checks.min_cot_tokens: 20 → 3"),
        (Stage.SEED_COTS, {"seed": 4}, "seed: 0 → 4"),
        (Stage.SEED_COTS, {"use_policies": ["fraud_and_deception"]}, "removed"),
        (Stage.SEED_COTS, {"endpoint": {"extra_body": {"a": 1}}}, "extra_body changed"),
        (Stage.SEED_COTS, {"endpoint": {"output": "json"}}, "output: (not set) → json"),
        (Stage.SEED_COTS, {"endpoint": {"profile": "vllm"}}, "profile: (not set) → vllm"),
        (Stage.DELIBERATED_COTS, {"deliberation": {"max_rounds": 1}}, "max_rounds: 3 → 1"),
        (Stage.DELIBERATED_COTS, {"roles": {"deliberator_2": {"model": "b"}}}, "deliberator_2"),
        (Stage.PREFERENCE_PAIRS, {"pairs": {"iterations": 1}}, "pairs.iterations: 2 → 1"),
        (Stage.COT_GRADES, SAMPLED, "grading.share: (not set) → 0.2"),
        (Stage.FINE_TUNE_SPLITS, {"splits": {"test": 0.1}}, "splits.test: 0.05 → 0.1"),
        (Stage.SEED_COTS, {"engine": "rehearsal"}, "writer → rehearsal"),
    ],
)  # fmt: skip
def test_what_bears_on_text_is_a_part_of_the_recipe_and_is_named(
    tmp_path: Path, stage: Stage, changed: dict[str, Any], said: str
) -> None:
    found = changes(tmp_path, stage, **changed)
    assert any(said in line for line in found), found


def test_a_stage_does_not_depend_on_what_only_later_stages_use(tmp_path: Path) -> None:
    later = {"pairs": {"iterations": 1}, "roles": {"refiner": {"model": "b"}}}
    assert changes(tmp_path, Stage.DELIBERATED_COTS, **later) == ()
    assert changes(tmp_path, Stage.REFINED_COTS, **later) == (
        "model of refiner: writer → b",
    )


def test_a_share_that_nobody_set_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path, environ={}).settings
    for stage in (Stage.COT_GRADES, Stage.PREFERENCE_PAIRS):
        parts = recipe_parts(take_snapshot(loaded), stage)
        names = {part.name for part in parts}
        assert "grading.compared" in names
        # Else every batch made before would be of another recipe.
        assert "grading.share" not in names


def test_a_tokenizer_counts_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    parts = []
    for name, text in (("a.json", "{}"), ("b.json", "{}"), ("c.json", "[]")):
        file = tmp_path / name
        file.write_text(text)
        settings = load_settings(
            tmp_path, environ={}, overrides={"tokenizer": str(file)}
        ).settings
        parts.append(recipe_parts(take_snapshot(settings), Stage.SEED_COTS))
    assert describe_changes(parts[0], parts[1]) == ()
    assert describe_changes(parts[0], parts[2]) == ("tokenizer changed",)
