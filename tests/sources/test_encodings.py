"""Encodings that spreadsheets save: taken where they are sure, else asked for by name."""

from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.encodings import detect_encoding
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.rows import FileForm
from tests.sources.builders import a_source, run_ingestion, texts

GERMAN = (
    "prompt;category\nWie erneuere ich meinen Führerschein?;Ämter\nÇa va, l’été?;é\n"
)
RUSSIAN = "prompt;category\nКак продлить паспорт?;быт\nИз чего делают мыло?;быт\n"
CHINESE = "prompt,category\n如何更新护照？,旅行\n肥皂是什么做的？,家\n"


def prompts(path: Path, form: FileForm = FileForm()) -> list[object]:
    values = list[object]()
    for row in read_file(path, form=form).rows:
        assert isinstance(row.content, dict)
        values.append(row.content["prompt"])
    return values


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (GERMAN, "utf-8", "separator semicolon"),
        (GERMAN, "utf-8-sig", "separator semicolon"),
        (GERMAN, "utf-16", "utf-16, separator semicolon"),
        ("\ufeff" + RUSSIAN, "utf-16-be", "utf-16, separator semicolon"),
        (GERMAN, "utf-16-le", "utf-16-le, separator semicolon"),
        (GERMAN, "cp1252", "cp1252, separator semicolon"),
        (CHINESE, "utf-8", ""),
    ],
)
def test_an_encoding_that_is_sure_is_taken_and_said(
    tmp_path: Path, text: str, encoding: str, named: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    assert read_file(path).form == named
    assert str(prompts(path)[0]) in text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (GERMAN, "mac_roman"),
        (CHINESE, "gb18030"),
        ("prompt\nパスポートを更新するには？\n", "cp932"),
        ("prompt;k\nJak przedłużyć paszport? Zażółć gęślą jaźń;a\n", "cp1250"),
        ("prompt;k\nPasaportumu nasıl yenilerim? Işığı görüş;a\n", "cp1254"),
    ],
)
def test_another_code_page_has_to_be_named_and_is_among_the_readings_shown(
    tmp_path: Path, text: str, encoding: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(SetupError, match="--encoding") as raised:
        read_file(path)
    assert str(path) in str(raised.value)
    assert f"\n  {encoding}" in str(raised.value)
    named = prompts(path, FileForm(encoding=encoding))
    assert str(named[0]) in text


def test_a_few_damaged_bytes_cost_their_rows_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = ["prompt", *(f"Frage ü {number}" for number in range(20))]
    data = "\n".join(rows).encode()
    path.write_bytes(data.replace("ü 7".encode(), b"\xfc 7"))
    assert read_file(path).form == "one column"
    ingestion = run_ingestion(a_source(path), near_duplicate_threshold=1.0)
    assert len(texts(ingestion)) == 19
    assert [row.reason for row in ingestion.dropped] == ["not_text"]


def test_a_guessed_code_page_is_told_with_an_example(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(GERMAN.encode("cp1252"))
    (remark,) = run_ingestion(a_source(path)).counts["team"].remarks
    assert "read as cp1252" in remark
    assert "Führerschein" in remark
    named = run_ingestion(a_source(path, encoding="cp1252"))
    assert not named.counts["team"].remarks


def test_an_encoding_is_told_from_a_sample_that_ends_within_a_character() -> None:
    sample = "é".encode() * 100
    assert detect_encoding(sample[:-1], Path("a"), is_whole=False) == "utf-8"


def test_json_lines_of_a_shell_that_writes_utf_16_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"prompt": "Grüße"}\r\n{"prompt": "a"}\r\n'.encode("utf-16"))
    assert prompts(path) == ["Grüße", "a"]
    assert read_file(path).form == "utf-16"
