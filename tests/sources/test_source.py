from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aidsafe_dagster.sources.source import SourceSpec, bundled_sources
from tests.sources.builders import ingested, texts


@pytest.mark.parametrize("name", ["", "Team", "a-b", "a/b", "../x", "_x", "x" * 41, "naïve", "a\n"])
def test_a_name_that_cannot_be_a_partition_key_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        SourceSpec(name=name, path=Path("x.csv"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give 'path'"),
        ({"preset": "alpagasus"}, "give 'path'"),
        ({"path": "x.csv", "hub": "a/b"}, "not both"),
        ({"path": "x.csv", "files": "*.csv"}, "belong to 'hub'"),
        ({"hub": "a/b", "preset": "beavertail"}, "Valid: alpagasus, beavertails"),
        ({"path": "x.csv", "limit": 0}, "limit"),
        ({"path": "x.csv", "license": "MIT"}, "license"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused_with_the_way_out(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceSpec.model_validate({"name": "team"} | settings)


def test_a_preset_knows_its_dataset_but_what_the_source_says_wins() -> None:
    by_preset = SourceSpec(name="team", preset="beavertails")
    own_copy = SourceSpec(name="team", preset="beavertails", hub="acme/copy", files="*.jsonl")
    assert (by_preset.dataset, by_preset.glob) == (
        "PKU-Alignment/BeaverTails",
        "round0/30k/*.jsonl.gz",
    )
    assert (own_copy.dataset, own_copy.glob) == ("acme/copy", "*.jsonl")


def test_the_bundled_samples_are_clean_and_each_row_has_its_licence() -> None:
    ingestion = ingested(*bundled_sources())
    assert not ingestion.dropped
    assert len(texts(ingestion)) >= 320
    prompts = [prompt for batch in ingestion.batches.values() for prompt in batch]
    assert {prompt.licence for prompt in prompts} == {"Apache-2.0", "MIT"}
    assert set(ingestion.counts) == {"catqa", "harmfulqa", "hh_red_team", "self_instruct"}
