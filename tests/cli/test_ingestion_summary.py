"""What an ingestion tells at the terminal: what was read, taken and dropped, in 80 columns."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aidsafe_dagster.cli.ingestion_summary import ingestion_lines
from tests.site import NO_FAULTS, a_site, aidsafe, prepare

TABLES = ("files", "new_batches", "dropped", "dropped_examples")


def told(**values: Any) -> list[str]:
    """The lines that are told of an ingestion, with their indents."""
    metadata: dict[str, Any] = {}
    for name in TABLES:
        records = [SimpleNamespace(data=row) for row in values.get(name, [])]
        metadata[name] = SimpleNamespace(records=records)
    defaults = {"new_prompts": 0, "restored": [], "seen_before": 0, "remarks": []}
    for name, default in defaults.items():
        metadata[name] = SimpleNamespace(value=values.get(name, default))
    return [" " * indent + line for indent, line in ingestion_lines(metadata)]


def test_one_prompt_in_one_batch_is_told_in_the_singular() -> None:
    lines = told(
        files=[{"file": "a.csv", "rows": 1, "prompts": "prompt", "form": ""}],
        new_prompts=1,
        new_batches=[{"batch": "mine-0001", "count": 1}],
        seen_before=1,
    )
    assert lines == [
        "a.csv: 1 row, prompts from column 'prompt'",
        "1 new prompt in 1 new batch",
        "  mine-0001: 1 prompt",
        "  1 row was seen by an earlier ingestion",
    ]


def test_dropped_rows_and_restored_batches_are_told() -> None:
    row = {"source": "mine", "reason": "duplicate", "source_row": "a.csv row 2"}
    lines = told(
        dropped=[{"source: reason": "mine: duplicate", "count": 3}],
        dropped_examples=[row | {"detail": "duplicate of 12"}],
        remarks=["mine: 1 row of a chat"],
        restored=["mine-0002"],
        seen_before=2,
    )
    assert lines == [
        "0 new prompts in 0 new batches",
        "  dropped 3: mine: duplicate",
        "    a.csv row 2: duplicate of 12",
        "  note: mine: 1 row of a chat",
        "  restored from the sealed copy, damaged or gone before: mine-0002",
        "  2 rows were seen by an earlier ingestion",
    ]


def test_of_many_files_the_first_ones_are_told() -> None:
    file = {"rows": 2, "prompts": "prompt", "form": "cp1252"}
    lines = told(files=[file | {"file": f"{number}.csv"} for number in range(8)])
    assert lines[0] == "0.csv: 2 rows, prompts from column 'prompt' (cp1252)"
    assert lines[5] == "and 3 further files"


def test_the_terminal_says_how_a_file_was_read_and_which_rows_are_bad(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    rows = "prompt;k\nWie geht das, für Anfänger?;a\n ;b\nÄpfel und Birnen kaufen;c\n"
    (tmp_path / "fragen.csv").write_bytes(rows.encode("cp1252"))
    told = aidsafe(tmp_path, "ingest", "fragen.csv", "--licence", "MIT", COLUMNS="80")
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    text = " ".join(told.stdout.split())
    assert "fragen.csv: 3 rows, prompts from column 'prompt'" in text
    assert "(cp1252, separator semicolon)" in text
    assert "2 new prompts in 1 new batch" in text
    assert "dropped 1: fragen: no_prompt fragen.csv row 2: 'prompt' is blank" in text
    assert "read as cp1252" in text


@pytest.mark.parametrize("name", ["вопросы.csv", "问题.csv"])
def test_a_file_named_in_another_script_is_taken_under_a_name_that_is_told(
    tmp_path: Path, name: str
) -> None:
    prepare(tmp_path)
    (tmp_path / name).write_text("prompt\nHow do I renew a passport?\n")
    told = aidsafe(tmp_path, "ingest", name, "--licence", "MIT")
    assert told.returncode == 0, told.stderr
    assert "The source is called file_" in told.stdout
    assert "--name" in told.stdout
    named = aidsafe(tmp_path, "ingest", name, "--licence", "MIT", "--name", "asked")
    assert "The source is called" not in named.stdout


def test_the_options_of_a_file_reach_its_reader(tmp_path: Path) -> None:
    prepare(tmp_path)
    folder = tmp_path / "inbox"
    folder.mkdir()
    text = "n^frage\nT-1^Как продлить паспорт?\nT-2^Из чего делают мыло?\n"
    (folder / "a.csv").write_bytes(text.encode("cp1251"))
    (folder / "b.csv").write_text("other\n1\n")
    options = ("--delimiter", "^", "--encoding", "cp1251", "--id-column", "n")
    columns = ("--prompt-column", "frage", "--files", "a*", "--licence", "MIT")
    told = aidsafe(tmp_path, "ingest", "inbox", *options, *columns)
    assert told.returncode == 0, told.stderr
    assert "2 new prompts" in told.stdout
    assert "(cp1251, separator '^')" in told.stdout
    wrong = aidsafe(tmp_path, "ingest", "inbox", "--turn", "middle", *columns)
    assert wrong.returncode == 2
    assert "'first' or 'last'" in wrong.stdout + wrong.stderr


def test_no_prompt_at_all_is_an_error_that_loses_nothing(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "good.csv").write_text("prompt\nWhat is a lock?\n")
    (tmp_path / "tags.jsonl").write_text('{"prompt": ["a"]}\n{"prompt": []}\n')
    aidsafe(tmp_path, "ingest", "good.csv", "--licence", "MIT")
    wrong = aidsafe(tmp_path, "ingest", "tags.jsonl", "--licence", "MIT")
    assert wrong.returncode == 2
    assert "tags.jsonl: no prompt in 2 rows" in wrong.stdout + wrong.stderr
    assert "--prompt-column" in wrong.stdout + wrong.stderr
    assert "good-0001" in aidsafe(tmp_path, "status").stdout


def test_a_source_that_cannot_be_read_is_told_without_the_name_of_a_class(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    (tmp_path / "a.csv").write_text("Frage\nWhy is jazz so free?\n")
    told_by = aidsafe(tmp_path, "ingest", "a.csv", "--licence", "MIT")
    assert told_by.returncode == 2
    assert f"Error {tmp_path}/a.csv: unknown column" in told_by.stdout
    assert "NotRows" not in told_by.stdout + told_by.stderr


def test_own_ids_go_through_show_and_export(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=NO_FAULTS) as site:
        text = "n,prompt\nT-1,Why do tomato seedlings lean?\nT-2,Why is jazz so free?\n"
        (tmp_path / "a.csv").write_text(text + "T-3,Why is jazz so free?\n")
        options = ("--id-column", "n", "--licence", "MIT")
        assert aidsafe(tmp_path, "ingest", "a.csv", *options).returncode == 0
        assert site.make("a-0001").success
        export = ("export", "--out", "out", "--as", "jsonl", "--allow-simulated")
        assert aidsafe(tmp_path, *export).returncode == 0
        exported = "".join(
            file.read_text() for file in (tmp_path / "out").glob("*.jsonl")
        )
        assert '"own_id": "T-1"' in exported
        story = aidsafe(tmp_path, "show", "T-1").stdout
        assert "T-1 is prompt" in story
        assert "Why do tomato seedlings lean?" in story
        dropped = aidsafe(tmp_path, "show", "T-3")
        assert dropped.returncode == 2
        assert "was dropped: a.csv row 3: duplicate" in dropped.stdout + dropped.stderr
        rows = site.lake.rows("fine_tune_splits", "a-0001")
        assert set(rows["own_id"]) == {"T-1", "T-2"}
