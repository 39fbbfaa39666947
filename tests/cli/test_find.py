"""`aidsafe find`, and ids of which only the beginning is typed."""

import re
from pathlib import Path

import pytest

from aidsafe_dagster.cli.console import make_console
from tests.site import aidsafe, prepare
from tests.viewer.lakes import ARABIC, CHINESE, TEXTS, a_full_lake, a_lake_with

NASTY = "\x1b[31m[red]# Owned[/red]\r\u202e needle ![x](http://h/i.png)\nnext line"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("project")
    prepare(project)
    a_full_lake(project / "data")
    return project


def found(folder: Path, *arguments: str, code: int = 0) -> str:
    outcome = aidsafe(folder, "find", *arguments, COLUMNS="80")
    assert outcome.returncode == code, outcome.stdout + outcome.stderr
    return outcome.stdout


def test_each_passage_is_printed_with_prompt_batch_and_place(folder: Path) -> None:
    text = found(folder, "hirngespinst")
    assert (
        "aa11 demo-0001\n  belief_candidates belief\n    Rules are a Hirngespinst."
        in text
    )
    assert "1 passage in 1 prompt." in text


def test_any_script_is_found_and_vowel_signs_do_not_count(folder: Path) -> None:
    assert CHINESE in found(folder, "诈骗")
    assert ARABIC in found(folder, "الاحتيال")
    assert "cc44" in found(folder, "GEHEIMNIS")


def test_words_must_all_be_there_and_a_phrase_stands_together(folder: Path) -> None:
    assert "aa11" in found(folder, "hirngespinst", "tumbler")
    assert "No row contains that." in found(folder, "hirngespinst", "threat", code=1)
    assert "No row contains that." in found(folder, '"lock tumbler"', code=1)


def test_a_stage_and_a_batch_narrow_the_search(folder: Path) -> None:
    text = found(folder, "usefulness", "--stage", "deliberated_cots")
    places = set(re.findall(r"^  (\S+) ", text, re.MULTILINE))
    assert places == {"deliberated_cots"}
    assert "No row at seed_cots" in found(
        folder, "usefulness", "--stage", "seed_cots", code=1
    )
    for option, value in (("--stage", "sed_cots"), ("--batch", "demo-1")):
        outcome = aidsafe(folder, "find", "x", option, value)
        assert outcome.returncode == 2
        assert value in outcome.stdout


def test_no_line_is_wider_than_the_terminal(tmp_path: Path) -> None:
    prepare(tmp_path)
    a_lake_with(tmp_path / "data", "电信诈骗" * 50 + "针" + "防止诈骗" * 50)
    a_lake_with(tmp_path / "data", "x" * 300 + "针" + "y" * 300, "demo-0002")
    text = found(tmp_path, "针")
    console = make_console()
    widths = [
        console.render_str(line, markup=False).cell_len for line in text.splitlines()
    ]
    assert max(widths) <= 80
    assert text.count("针") >= 2


def test_a_hostile_text_reaches_the_terminal_as_text(tmp_path: Path) -> None:
    prepare(tmp_path)
    a_lake_with(tmp_path / "data", NASTY)
    text = found(tmp_path, "needle")
    assert "[red]# Owned[/red] needle" in text
    assert not {"\x1b", "\r", "\u202e"}.intersection(text)


def test_an_empty_search_is_refused(folder: Path) -> None:
    assert aidsafe(folder, "find", " ").returncode == 2


def test_the_beginning_of_an_id_is_enough(folder: Path) -> None:
    assert TEXTS["bb33"][:10] in aidsafe(folder, "show", "BB").stdout
    failures = aidsafe(folder, "failures", "cc")
    assert "refused_to_deliberate" in failures.stdout
    assert "no_contrast" not in failures.stdout
    assert "aa22" in found(folder, "aa")


@pytest.mark.parametrize("command", ["show", "failures", "view"])
def test_an_ambiguous_beginning_names_the_choices(folder: Path, command: str) -> None:
    outcome = aidsafe(folder, command, "aa")
    assert outcome.returncode == 2
    for part in ("begins the ids of 2 prompts", "aa11", "aa22", CHINESE):
        assert part in outcome.stdout
    unknown = aidsafe(folder, command, "zz")
    assert unknown.returncode == 2
    assert "no prompt 'zz'" in unknown.stdout
