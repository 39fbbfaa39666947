from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.columns import RowContent, read_row, resolve_columns
from aidsafe_dagster.sources.rejection import Rejection
from tests.sources.builders import a_source

SOURCE = Path("x.csv")


def read(row: dict[str, Any], **settings: Any) -> RowContent | Rejection:
    columns = resolve_columns(a_source(SOURCE, **settings), tuple(row), "x.csv")
    return read_row(columns, row, max_prompt_chars=100)


@pytest.mark.parametrize("column", ["prompt", "instruction", "question", "text"])
def test_usual_prompt_columns_need_no_mapping(column: str) -> None:
    assert read({"id": 1, column: "Hello"}) == RowContent("Hello", "", "MIT")


def test_a_column_named_prompt_takes_precedence_over_other_usual_names() -> None:
    assert read({"text": "no", "prompt": "yes"}) == RowContent("yes", "", "MIT")


def test_mapped_columns_take_precedence() -> None:
    row = {"prompt": "no", "q": "yes", "kind": "fraud", "rights": "CC0-1.0"}
    mapping = {"prompt": "q", "category": "kind", "licence": "rights"}
    columns = resolve_columns(a_source(SOURCE, columns=mapping), tuple(row), "x.csv")
    content = read_row(columns, row, max_prompt_chars=100)
    assert content == RowContent("yes", "fraud", "CC0-1.0")


def test_the_input_of_an_alpaca_row_follows_its_instruction() -> None:
    assert read(
        {"instruction": "Sum up:", "input": "Long.", "output": "x"}
    ) == RowContent("Sum up:\n\nLong.", "", "MIT", response="x")
    assert read({"instruction": "Tell a joke.", "input": " "}) == RowContent(
        "Tell a joke.", "", "MIT"
    )


@pytest.mark.parametrize(
    ("row", "settings", "response"),
    [
        ({"prompt": "Hi", "response": "Hello!"}, {}, "Hello!"),
        ({"prompt": "Hi", "output": "Hello!"}, {}, "Hello!"),
        ({"prompt": "Hi", "said": "Hello!"}, {}, ""),
        ({"prompt": "Hi", "said": "Hello!"}, {"response": "said"}, "Hello!"),
        ({"prompt": "Hi", "a": {"text": "Hello!"}}, {"response": "a.text"}, "Hello!"),
        (
            {"prompt": "Hi", "chosen": [{"role": "assistant", "content": "Hello!"}]},
            {},
            "Hello!",
        ),
        ({"prompt": "Hi", "response": None}, {}, ""),
        ({"prompt": "Hi", "response": "\u200b "}, {}, ""),
        ({"prompt": "Hi", "response": "\ud800"}, {}, ""),
        ({"prompt": "Hi", "response": {"is_safe": True}}, {}, ""),
    ],
)
def test_the_answer_of_the_source_is_kept_and_its_lack_rejects_no_prompt(
    row: dict[str, Any], settings: dict[str, str], response: str
) -> None:
    content = read(row, columns=settings)
    assert content == RowContent("Hi", "", "MIT", response=response)


def test_a_column_of_answers_that_is_not_there_is_named() -> None:
    with pytest.raises(SetupError, match=r"unknown column 'anwser'.*'answer'"):
        read({"prompt": "Hi", "answer": "Hello!"}, columns={"response": "anwser"})


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("fraud", "fraud"),
        ({"a": True, "b": False, "c,d": True}, "a;c,d"),
        (["a", "b"], "a;b"),
        (None, ""),
        (3, "3"),
    ],
)
def test_categories_can_be_text_flags_or_lists(category: object, expected: str) -> None:
    assert read({"prompt": "Hello", "category": category}) == RowContent(
        "Hello", expected, "MIT"
    )


@pytest.mark.parametrize("column", ["licence", "license"])
def test_a_row_licence_is_used_if_the_source_has_none(column: str) -> None:
    assert read({"prompt": "Hello", column: "CC0-1.0"}, licence=None) == RowContent(
        "Hello", "", "CC0-1.0"
    )
    assert read({"prompt": "Hello", column: "CC0-1.0"}) == RowContent(
        "Hello", "", "MIT"
    )
    rejected = read({"prompt": "Hello", column: None}, licence=None)
    assert isinstance(rejected, Rejection)
    assert rejected.reason == "no_licence"


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (
            ("propmt", "id"),
            {},
            r"x\.csv: unknown column 'prompt'\. Did you mean 'propmt'\?.*--prompt-column",
        ),
        (
            ("text", "question"),
            {},
            r"unclear which column is the prompt: question, text\. Set columns\.prompt",
        ),
        (
            ("prompt",),
            {"columns": {"category": "kind"}},
            r"unknown column 'kind'\. Valid: prompt",
        ),
        (("prompt",), {"licence": None}, "no licence"),
    ],
)
def test_wrong_columns_are_a_setup_error(
    columns: tuple[str, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        resolve_columns(a_source(SOURCE, **settings), columns, "x.csv")


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (None, "no_prompt"),
        ("", "no_prompt"),
        (" \n\t", "no_prompt"),
        (7, "not_text"),
        (["Hello"], "not_text"),
        ("lone \ud800 surrogate", "not_text"),
        ("x" * 101, "too_long"),
    ],
)
def test_an_unusable_prompt_is_rejected_with_its_reason(
    prompt: object, reason: str
) -> None:
    rejected = read({"prompt": prompt})
    assert isinstance(rejected, Rejection)
    assert rejected.reason == reason


@pytest.mark.parametrize(
    "prompt",
    ["{x}", "{{ x }}{% if %}", '{"role": "system"}', "a\x00b", " padded\r\n", "😀 ﬁ ê"],
)
def test_odd_but_valid_prompts_are_unchanged(prompt: str) -> None:
    assert read({"prompt": prompt}) == RowContent(prompt, "", "MIT")
