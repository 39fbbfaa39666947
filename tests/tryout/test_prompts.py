"""Which prompts a tryout takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.tryout.prompts import (
    prompts_from_file,
    prompts_from_texts,
    prompts_of_project,
)
from tests.builders import a_prompt
from tests.site import prepare, prompts_file, some_prompts


def settings_in(folder: Path, **values: Any) -> Settings:
    prepare(folder, **values)
    return load_settings(folder, {}).settings


def texts(prompts: tuple[Prompt, ...]) -> list[str]:
    return [one.prompt for one in prompts]


def test_a_file_without_a_licence_can_be_tried_since_nothing_is_released(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("question,topic\nHow do locks work?,locks\nWhy is it cold?,ice\n")
    columns = {"prompt": "question", "category": "topic"}
    chosen = prompts_from_file(file, 5, settings_in(tmp_path), columns)
    assert texts(chosen.prompts) == ["How do locks work?", "Why is it cold?"]
    assert [one.category for one in chosen.prompts] == ["locks", "ice"]


def test_rows_that_are_no_prompts_are_told_and_the_next_ones_taken(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.jsonl"
    good, other = some_prompts(2)
    rows = [{"prompt": good}, {"prompt": " "}, {"prompt": good}, {"prompt": other}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = prompts_from_file(file, 2, settings_in(tmp_path), {})
    assert texts(chosen.prompts) == [good, other]
    assert [str(one.reason) for one in chosen.dropped] == ["no_prompt", "duplicate"]


def test_a_file_without_any_prompt_is_an_error_that_says_why(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": ""}\n')
    with pytest.raises(SetupError, match=r"no prompt in 1 row\n.*blank \(mine"):
        prompts_from_file(file, 2, settings_in(tmp_path), {})


def test_a_column_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("question\nHow do locks work?\n")
    with pytest.raises(SetupError, match="Did you mean 'question'"):
        prompts_from_file(file, 2, settings_in(tmp_path), {"prompt": "questions"})


def test_the_same_text_twice_is_one_prompt(tmp_path: Path) -> None:
    chosen = prompts_from_texts(["Why?", "Why?"], settings_in(tmp_path))
    assert texts(chosen.prompts) == ["Why?"]


def test_without_a_file_some_ingested_prompts_are_tried_always_the_same(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path)
    lake = Lake(settings.lake)
    for batch in ("mine-0001", "mine-0002"):
        rows = []
        for n in range(3):
            rows.append(a_prompt(prompt_id=f"{n}-{batch}", batch=batch))
        lake.store(INGESTED, batch, rows, Prompt)
    chosen = prompts_of_project(3, settings)
    ids = {one.prompt_id for one in chosen.prompts}
    assert ids == {"0-mine-0001", "0-mine-0002", "1-mine-0001"}
    assert prompts_of_project(3, settings) == chosen


def test_before_anything_is_ingested_the_sources_give_prompts_in_turn(
    tmp_path: Path,
) -> None:
    first = prompts_file(tmp_path, some_prompts(3), "first")
    second = prompts_file(tmp_path, some_prompts(6)[3:], "second")
    settings = settings_in(tmp_path)
    specs = load_settings(tmp_path, {}, {"sources": [first, second]}).settings.sources
    settings = settings.model_copy(update={"sources": specs})
    chosen = prompts_of_project(3, settings)
    six = some_prompts(6)
    assert texts(chosen.prompts) == [six[0], six[3], six[1]]


def test_a_new_project_tries_the_bundled_samples(tmp_path: Path) -> None:
    chosen = prompts_of_project(4, settings_in(tmp_path))
    assert len({one.source for one in chosen.prompts}) > 1
    assert chosen.origin == "the bundled samples"
