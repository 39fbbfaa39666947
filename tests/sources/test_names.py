"""The name of a source comes from its file, in whatever script that is named."""

import unicodedata
from pathlib import Path

import pytest

from aidsafe_dagster.sources.names import (
    LONGEST,
    is_whole,
    name_of_dataset,
    name_of_file,
)
from aidsafe_dagster.sources.source import SourceSpec

SCRIPTS = ["вопросы.csv", "问题.jsonl", "أسئلة.parquet", "प्रश्न v2.csv", "_.csv", "…"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Prompts (2).csv", "my_prompts_2"),
        ("été.jsonl.gz", "ete"),
        ("x" * 60 + ".csv", "x" * LONGEST),
    ],
)
def test_latin_letters_are_kept(file: str, name: str) -> None:
    assert name_of_file(Path(file)) == name
    assert is_whole(file.partition(".")[0])


@pytest.mark.parametrize("file", SCRIPTS)
def test_a_name_in_any_script_makes_a_valid_and_lasting_name(file: str) -> None:
    path = Path(file)
    name = name_of_file(path)
    assert SourceSpec(name=name, path=path, licence="MIT").name == name
    # macOS writes accents as letters of their own.
    assert name_of_file(Path(unicodedata.normalize("NFD", file))) == name
    assert not is_whole(file.partition(".")[0])


def test_files_that_differ_in_letters_of_another_script_have_different_names() -> None:
    names = {name_of_file(Path(name)) for name in ("вопросы_1.csv", "ответы_1.csv")}
    assert len(names) == 2
    assert all(name.startswith("1_") for name in names)


def test_a_dataset_is_named_without_its_owner() -> None:
    assert name_of_dataset("PKU-Alignment/BeaverTails") == "beavertails"
