from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aidsafe_dagster.sources.source import SourceSpec, bundled_sources
from tests.sources.builders import new_prompts, run_ingestion, texts


@pytest.mark.parametrize(
    "name", ["", "Team", "a-b", "a/b", "../x", "_x", "x" * 41, "naïve", "a\n"]
)
def test_a_name_that_cannot_be_a_partition_key_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        SourceSpec(name=name, path=Path("x.csv"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give 'path'"),
        ({"preset": "alpagasus"}, "give 'path'"),
        ({"path": "x.csv", "hub": "a/b"}, "not both"),
        ({"path": "x.csv", "encoding": "utf-88"}, "unknown encoding 'utf-88'"),
        ({"hub": "a/b", "preset": "beavertail"}, "Valid: alpagasus, beavertails"),
        ({"path": "x.csv", "limit": 0}, "limit"),
        ({"path": "x.csv", "license": "MIT"}, "license"),
    ],
)
def test_a_contradictory_source_is_refused_with_the_remedy(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceSpec.model_validate({"name": "team"} | settings)


def test_settings_of_the_source_override_its_preset() -> None:
    by_preset = SourceSpec(name="team", preset="beavertails")
    own_copy = SourceSpec(
        name="team", preset="beavertails", hub="acme/copy", files="*.jsonl"
    )
    assert (by_preset.dataset, by_preset.glob) == (
        "PKU-Alignment/BeaverTails",
        "round0/30k/*.jsonl.gz",
    )
    assert (own_copy.dataset, own_copy.glob) == ("acme/copy", "*.jsonl")


def test_the_bundled_samples_are_clean_and_each_row_has_its_licence() -> None:
    ingestion = run_ingestion(*bundled_sources())
    assert not ingestion.dropped
    assert len(texts(ingestion)) >= 320
    assert {prompt.licence for prompt in new_prompts(ingestion)} == {
        "Apache-2.0",
        "MIT",
    }
    assert set(ingestion.counts) == {
        "catqa",
        "harmfulqa",
        "hh_red_team",
        "self_instruct",
    }
