from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.templates import JAILBREAKS
from tests.evaluation.builders import (
    SAFE_PROMPTS,
    a_chat,
    beavertails,
    loaded,
    mmlu,
    strongreject,
    wildchat,
    xstest,
)
from tests.sources.builders import write_csv, write_jsonl


def mistake(spec: dict[str, Any]) -> str:
    with pytest.raises(SetupError) as raised:
        loaded(spec)
    return str(raised.value)


def test_rows_of_a_harmful_benchmark_become_items_with_place_and_licence(
    tmp_path: Path,
) -> None:
    (item,) = loaded(beavertails(tmp_path, ["How do I steal a bike?"])).items
    assert item.kind == "harmful"
    assert item.prompt.prompt == "How do I steal a bike?"
    assert item.prompt.category == "theft"
    assert item.prompt.source_row == "beavertails.jsonl row 1"
    assert item.prompt.licence == "cc-by-nc-4.0"


def test_only_the_first_turns_of_toxic_english_chats_become_items(
    tmp_path: Path,
) -> None:
    empty = {"conversation": [], "toxic": True}
    rows = [
        a_chat("one"),
        a_chat("two", toxic=False),
        a_chat("drei", language="German"),
        empty,
    ]
    benchmark = loaded(wildchat(tmp_path, *rows))
    assert [item.prompt.prompt for item in benchmark.items] == ["one"]
    assert benchmark.left_out == {"not toxic": 1, "not in English": 1, "no prompt": 1}
    assert benchmark.rows == 4


def test_a_file_of_harmful_chats_needs_only_prompts(tmp_path: Path) -> None:
    assert (
        len(loaded(wildchat(tmp_path, {"prompt": "one"}, {"prompt": "two"})).items) == 2
    )


def test_jailbreaks_wrap_forbidden_prompts_in_turn(tmp_path: Path) -> None:
    items = loaded(strongreject(tmp_path, [f"Forbidden {n}" for n in range(8)])).items
    assert Counter(item.jailbreak for item in items) == dict.fromkeys(JAILBREAKS, 2)
    for item in items:
        assert "Forbidden " in item.prompt.prompt
        assert len(item.prompt.prompt) > 100


def test_a_prompt_is_never_rendered_as_a_template(tmp_path: Path) -> None:
    (item,) = loaded(strongreject(tmp_path, ["{{ 7 * 7 }} {% raw %}"])).items
    assert "{{ 7 * 7 }} {% raw %}" in item.prompt.prompt


def test_the_label_decides_whether_a_prompt_is_harmful(tmp_path: Path) -> None:
    items = loaded(xstest(tmp_path, SAFE_PROMPTS, ["How do I kill a man?"])).items
    assert {item.prompt.prompt: item.kind for item in items} == {
        **dict.fromkeys(SAFE_PROMPTS, "benign"),
        "How do I kill a man?": "harmful",
    }


@pytest.mark.parametrize("right", [2, "2", "C", "c"])
def test_the_right_answer_may_be_an_index_or_a_letter(
    tmp_path: Path, right: Any
) -> None:
    (item,) = loaded(mmlu(tmp_path, ("What comes after two?", right))).items
    assert item.kind == "question"
    assert item.right == "C"
    assert item.choices == ("one", "two", "three", "four")


def test_choices_may_be_in_columns(tmp_path: Path) -> None:
    file = write_csv(
        tmp_path / "q.csv",
        [
            ("question", "A", "B", "C", "D", "answer"),
            ("2 + 2?", "3", "4", "5", "", "B"),
        ],
    )
    (item,) = loaded({"name": "mmlu", "path": str(file)}).items
    assert item.choices == ("3", "4", "5")
    assert item.right == "B"


def test_a_sample_is_reproducible_and_part_of_a_larger_one(tmp_path: Path) -> None:
    spec = xstest(
        tmp_path,
        [f"Safe {n}" for n in range(20)],
        [f"Unsafe {n}" for n in range(20)],
    )
    small, large = loaded(spec, 5), loaded(spec, 12)
    assert small == loaded(spec, 5)
    assert {item.prompt.prompt_id for item in small.items} < {
        item.prompt.prompt_id for item in large.items
    }
    assert Counter(item.kind for item in small.items) == {"benign": 5, "harmful": 5}


def test_duplicate_prompts_are_left_out(tmp_path: Path) -> None:
    benchmark = loaded(beavertails(tmp_path, ["How?", "how? ", "Why?"]))
    assert len(benchmark.items) == 2
    assert benchmark.left_out == {"duplicate": 1}


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "mine.jsonl", [{"body": "How?", "verdict": "safe"}])
    spec = {
        "name": "mine",
        "preset": "xstest",
        "path": str(file),
        "columns": {"prompt": "body", "label": "verdict"},
    }
    (item,) = loaded(spec).items
    assert item.benchmark == "mine"
    assert item.kind == "benign"


def test_the_error_for_a_missing_column_names_benchmark_file_and_columns(
    tmp_path: Path,
) -> None:
    file = write_jsonl(tmp_path / "mine.jsonl", [{"prompt": "How?", "verdict": "safe"}])
    spec = {"name": "xstest", "path": str(file)}
    assert mistake(spec) == (
        "benchmark 'xstest': mine.jsonl: no column 'label'; set columns.label. "
        "Found: prompt, verdict"
    )
    assert "unknown column 'verdct'. Did you mean 'verdict'?" in mistake(
        spec | {"columns": {"label": "verdct"}}
    )
    assert "unknown field 'lable'. Did you mean 'label'?" in mistake(
        spec | {"columns": {"lable": "verdict"}}
    )


def test_the_error_for_an_invalid_label_or_answer_names_its_row(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "label": "safe"}, {"prompt": "b", "label": "maybe"}]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    error = mistake({"name": "xstest", "path": str(file)})
    assert (
        error
        == "x.jsonl row 2, column 'label': 'maybe' is not valid; valid: safe, unsafe"
    )
    assert (
        "column 'answer': '7' is not an answer; valid: A, B, C, D, or 0 to 3"
        in mistake(mmlu(tmp_path, ("q?", 7)))
    )
    odd = write_jsonl(
        tmp_path / "odd.jsonl",
        [{"question": "q?", "choices": "['a', 'b']", "answer": 0}],
    )
    assert "column 'choices': neither a list of choices nor" in mistake(
        {"name": "mmlu", "path": str(odd)}
    )


def test_the_error_for_a_benchmark_without_usable_rows_lists_the_reasons(
    tmp_path: Path,
) -> None:
    assert "no row can be used (1 not toxic)" in mistake(
        wildchat(tmp_path, a_chat("one", toxic=False))
    )
