"""A prompt out of a chat transcript: one user turn, and a word on what was left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.sources.transcripts import user_turn
from tests.sources.builders import (
    a_source,
    reasons,
    run_ingestion,
    texts,
    write_csv,
    write_jsonl,
)

FIRST, LAST = "How do I renew a passport?", "And in Kenya?"
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": FIRST},
    {"role": "assistant", "content": "It depends."},
    {"role": "user", "content": LAST},
    {"role": "assistant", "content": "There is an office."},
]
SHAREGPT = [
    {"from": "gpt", "value": "Hello!"},
    {"from": "human", "value": FIRST},
    {"from": "gpt", "value": "It depends."},
    {"from": "human", "value": LAST},
]
HH = f"\n\nHuman: {FIRST}\n\nAssistant: It depends.\n\nHuman: {LAST}\n\nAssistant: Go."
SHAPES: dict[str, dict[str, Any]] = {
    "messages": {"messages": MESSAGES},
    "sharegpt": {"id": 1, "conversations": SHAREGPT},
    "hh": {"chosen": HH, "rejected": HH},
    "trl": {"prompt": MESSAGES[:4], "chosen": MESSAGES[4:], "rejected": []},
    "lmsys": {"conversation": MESSAGES, "model": "m"},
    "cell": {"messages": json.dumps(MESSAGES)},
}


@pytest.mark.parametrize("row", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("turn", "prompt"), [("first", FIRST), ("last", LAST)])
def test_a_turn_of_the_user_is_the_prompt(
    tmp_path: Path, row: dict[str, Any], turn: str, prompt: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [row])
    ingestion = run_ingestion(a_source(path, turn=turn))
    assert texts(ingestion) == [prompt]
    (remark,) = ingestion.counts["team"].remarks
    assert f"the prompt is the {turn} turn of the user" in remark
    assert "in 1 there are more turns" in remark


def test_a_transcript_of_one_turn_leaves_nothing_out(tmp_path: Path) -> None:
    rows = [{"messages": MESSAGES[1:3]}]
    ingestion = run_ingestion(a_source(write_jsonl(tmp_path / "a.jsonl", rows)))
    (remark,) = ingestion.counts["team"].remarks
    assert remark == "1 row of a chat: the prompt is the first turn of the user"


def test_a_chosen_column_of_transcripts_is_read_as_one(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"talk": HH}, {"talk": "Plain words"}])
    ingestion = run_ingestion(a_source(path, columns={"prompt": "talk"}))
    assert texts(ingestion) == [FIRST, "Plain words"]
    assert "1 row of a chat" in ingestion.counts["team"].remarks[0]


def test_a_transcript_in_an_inner_object_is_named_with_a_dot(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"body": {"messages": MESSAGES}}])
    ingestion = run_ingestion(a_source(path, columns={"prompt": "body.messages"}))
    assert texts(ingestion) == [FIRST]


def test_parts_of_a_turn_that_are_text_are_read(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {}}]
    rows = [{"messages": [{"role": "user", "content": parts}]}]
    ingestion = run_ingestion(a_source(write_jsonl(tmp_path / "a.jsonl", rows)))
    assert texts(ingestion) == ["Look"]


def test_a_transcript_without_a_user_is_rejected_with_its_reason(
    tmp_path: Path,
) -> None:
    rows = [
        {"messages": [{"role": "assistant", "content": "Hi"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": []},
        {"messages": MESSAGES},
    ]
    ingestion = run_ingestion(a_source(write_jsonl(tmp_path / "a.jsonl", rows)))
    assert reasons(ingestion) == [
        ("a.jsonl row 1", "no_prompt"),
        ("a.jsonl row 2", "no_prompt"),
        ("a.jsonl row 3", "not_text"),
    ]


def test_a_transcript_in_a_cell_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    rows = [["id", "conversations"], ["1", json.dumps(SHAREGPT)], ["2", "[oops"]]
    ingestion = run_ingestion(a_source(write_csv(tmp_path / "a.csv", rows)))
    assert texts(ingestion) == [FIRST, "[oops"]


@pytest.mark.parametrize(
    "value",
    [
        "Human: is an unusual first word for a prompt",
        "Translate this.\n\nHuman: hello\n\nAssistant: hi",
        "Assistant: hi\n\nHuman: hello",
        ["a", "b"],
        [{"name": "x"}],
        {"role": "user", "content": "x"},
        None,
    ],
)
def test_what_only_looks_like_a_transcript_is_none(value: object) -> None:
    assert user_turn(value, "first") is None
