"""What users and models write does not choose where files lie."""

from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from tests.site import NO_FAULTS, a_site, aidsafe, prepare, prompts_file, some_prompts

ESCAPES = ["../../escaped", "..", "/escaped", "%2e%2e%2fescaped"]
INVALID_KEYS = [
    "",
    ".",
    "a/../../escaped",
    "batch=../escaped",
    "~",
    "$HOME",
    "a\nb",
    "..\\escaped",
    "C:\\escaped",
    "a\0b",
    "‥/escaped",
    "é",
    "-rf",
    "a b",
    "a\n",
    "escaped" * 20,
]
OWN_FOLDERS = ("site/data/dagster/", "site/data/locks/")
"""Where Dagster and the locks keep files of their own."""


def files_of(folder: Path) -> set[str]:
    names = {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }
    return {name for name in names if not name.startswith(OWN_FOLDERS)}


def escaped_paths(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if "escaped" in path.name]


def test_a_partition_key_that_is_a_path_makes_no_file_anywhere(tmp_path: Path) -> None:
    with a_site(tmp_path / "site") as site:
        before = files_of(tmp_path)
        for key in ESCAPES:
            site.instance.add_dynamic_partitions("batches", [key])
            run = site.make(key)
            assert not run.success
            assert "is not a batch key" in run.error
        for key in INVALID_KEYS:
            with pytest.raises(SetupError, match="is not a batch key"):
                site.lake.rows_path("prompts", key)
    assert files_of(tmp_path) == before


def test_the_command_line_takes_no_such_key_either(tmp_path: Path) -> None:
    with a_site(tmp_path / "site") as site:
        site.instance.add_dynamic_partitions("batches", [ESCAPES[0]])
    before = files_of(tmp_path)
    outcome = aidsafe(tmp_path / "site", "backfill", ESCAPES[0])
    assert outcome.returncode == 1
    assert "is not a batch key" in outcome.stdout
    assert [name for name in files_of(tmp_path) - before if "escaped" in name] == []


@pytest.mark.parametrize("name", ["../escaped", "A B"])
def test_the_name_of_a_source_is_no_path(tmp_path: Path, name: str) -> None:
    prepare(tmp_path)
    prompts_file(tmp_path, some_prompts(2))
    outcome = aidsafe(tmp_path, "ingest", "mine.jsonl", "--name", name)
    assert outcome.returncode == 2
    assert "name" in outcome.stdout
    assert escaped_paths(tmp_path) == []


def test_the_text_of_a_prompt_is_in_no_file_name(tmp_path: Path) -> None:
    texts = [
        "../../escaped and how to bake bread",
        "/etc/escaped: what is a shell?",
        "`touch escaped` or $(escaped)?",
    ]
    with a_site(tmp_path / "site", rehearsal=NO_FAULTS) as site:
        site.ingest(prompts_file(site.folder, texts))
        assert site.make("mine-0001").success
        ids = site.lake.rows(Stage.PROMPTS, "mine-0001")["prompt_id"].to_list()
    assert len(ids) == len(texts)
    assert all(prompt_id.isalnum() for prompt_id in ids)
    assert escaped_paths(tmp_path) == []
