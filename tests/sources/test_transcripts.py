"""A prompt out of a chat transcript: the conversation, or one turn, and a word on the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.sources.transcripts import read_transcript
from tests.sources.builders import (
    a_source,
    new_prompts,
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
    remark, *_ = ingestion.counts["team"].remarks
    assert f"the prompt is the {turn} turn of the user" in remark
    assert "in 1 there are more turns" in remark


@pytest.mark.parametrize("row", SHAPES.values(), ids=SHAPES)
def test_a_conversation_is_answered_at_its_last_turn(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [row])
    ingestion = run_ingestion(a_source(path))
    ((prompt,),) = ingestion.batches.values()
    talk = [(turn.role, turn.content) for turn in prompt.earlier]
    assert talk[-2:] == [("user", FIRST), ("assistant", "It depends.")]
    assert talk[:-2] in ([], [("system", "Be brief.")])
    assert prompt.prompt == LAST
    remark, *_ = ingestion.counts["team"].remarks
    assert "in 1 the turns before it are its context" in remark


def test_the_shapes_of_one_conversation_are_one_prompt(tmp_path: Path) -> None:
    rows = [SHAPES["sharegpt"], SHAPES["hh"] | {"conversations": None}]
    rows[1] = {"id": 2, "conversations": HH}
    ingestion = run_ingestion(a_source(write_jsonl(tmp_path / "a.jsonl", rows)))
    assert reasons(ingestion) == [("a.jsonl row 2", "duplicate")]


def test_turns_come_in_the_form_that_chat_templates_take(tmp_path: Path) -> None:
    talk = [
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "One."},
        {"role": "user", "content": "Two."},
        {"role": "assistant", "content": ""},
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": "Four?"},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", [{"messages": talk}])
    ((prompt,),) = run_ingestion(a_source(path)).batches.values()
    assert [(turn.role, turn.content) for turn in prompt.prompt_turns] == [
        ("system", "Be brief."),
        ("user", "One.\n\nTwo."),
        ("assistant", "Three."),
        ("user", "Four?"),
    ]


def test_a_conversation_in_which_a_tool_speaks_is_rejected(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": "12:00"},
        {"role": "user", "content": "And in Kenya?"},
    ]
    rows = [{"messages": talk}, {"messages": MESSAGES}]
    ingestion = run_ingestion(a_source(write_jsonl(tmp_path / "a.jsonl", rows)))
    assert reasons(ingestion) == [("a.jsonl row 1", "other_speaker")]


def test_a_conversation_is_bounded_as_a_whole(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "x" * 60_000}, *MESSAGES[2:]]
    rows = [{"messages": talk}, {"messages": MESSAGES}]
    ingestion = run_ingestion(a_source(write_jsonl(tmp_path / "a.jsonl", rows)))
    assert reasons(ingestion) == [("a.jsonl row 1", "too_long")]


def test_a_transcript_of_one_turn_leaves_nothing_out(tmp_path: Path) -> None:
    rows = [{"messages": MESSAGES[1:3]}]
    ingestion = run_ingestion(a_source(write_jsonl(tmp_path / "a.jsonl", rows)))
    remark, *_ = ingestion.counts["team"].remarks
    assert remark == "1 row of a chat: the prompt is the last turn of the user"


def test_a_chosen_column_of_transcripts_is_read_as_one(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"talk": HH}, {"talk": "Plain words"}])
    ingestion = run_ingestion(a_source(path, columns={"prompt": "talk"}))
    assert texts(ingestion) == [LAST, "Plain words"]
    assert "1 row of a chat" in ingestion.counts["team"].remarks[0]


def test_a_transcript_in_an_inner_object_is_named_with_a_dot(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"body": {"messages": MESSAGES}}])
    ingestion = run_ingestion(a_source(path, columns={"prompt": "body.messages"}))
    assert texts(ingestion) == [LAST]


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
    assert texts(ingestion) == [LAST, "[oops"]


ANSWERS = {
    "messages": ("It depends.", "There is an office."),
    "sharegpt": ("It depends.", ""),
    "hh": ("It depends.", "Go."),
    "trl": ("It depends.", "There is an office."),
    "lmsys": ("It depends.", "There is an office."),
    "cell": ("It depends.", "There is an office."),
}


@pytest.mark.parametrize("shape", ANSWERS)
@pytest.mark.parametrize("turn", ["first", "last", "conversation"])
def test_the_assistants_turn_behind_it_is_the_original_response(
    tmp_path: Path, shape: str, turn: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [SHAPES[shape]])
    (prompt,) = new_prompts(run_ingestion(a_source(path, turn=turn)))
    assert prompt.original_response == ANSWERS[shape][turn != "first"]


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
    assert read_transcript(value, "conversation") is None
