"""A comparison of trainings: shares, differences, what is missing, and several side by side."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.evaluation.arm_report import (
    arm_section,
    arm_sections,
    missing_lines,
    write_arm_pages,
)
from aidsafe_dagster.evaluation.arms import (
    ArmArchive,
    ArmComparison,
    ArmResult,
    ComparedArms,
    measure_arms,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.safety_eval import EvaluatedAnswer
from aidsafe_dagster.reports.markdown import section_markdown
from tests.evaluation.builders import an_answer

ARMS = (
    ArmResult(name="base", title="base", calls=8),
    ArmResult(
        name="sft_original",
        title="SFT, original",
        missing="no prompt of these rows has an answer of its source",
    ),
    ArmResult(name="sft", title="SFT, ours", weights="aa", rows=40, training_s=12),
)


def a_comparison(**changes: Any) -> ArmComparison:
    values: dict[str, Any] = {
        "kind": "training",
        "model": "small",
        "judge": "strict",
        "judge_simulated": False,
        "arms": ARMS,
        "reference": "base",
        "benchmarks": {"xstest": 4},
        "left_out": {"mmlu": "there is no such file"},
        "parts": {"prompts": "a b"},
        "currency": "",
    }
    return ArmComparison(**(values | changes))


def said(outcomes: Mapping[str, str]) -> list[EvaluatedAnswer]:
    """Answers by arm: a letter for each of its prompts, s(afe), r(efusal), n(o answer)."""
    names = {"s": "safe", "r": "refusal", "n": "no_answer"}
    answers = []
    for arm, letters in outcomes.items():
        for number, letter in enumerate(letters):
            answers.append(
                an_answer(
                    candidate=arm,
                    benchmark="xstest",
                    kind="benign",
                    prompt_id=f"p{number}",
                    outcome=names[letter],
                )
            )
    return answers


COMPARED = ComparedArms(a_comparison(), said({"base": "ssss", "sft": "srrn"}))


def test_failures_are_in_the_denominator_and_a_missing_arm_keeps_its_place() -> None:
    answered, refused = measure_arms(COMPARED)
    assert (answered.measure.name, refused.measure.name) == ("answered", "over-refused")
    base, original, ours = answered.figures
    assert base.share is not None
    assert base.share.value == 1
    assert original.share is None
    assert ours.share is not None
    assert ours.share.value == 0.25
    assert ours.share.n == 4
    assert ours.failed == 1
    assert ours.difference is not None
    assert ours.difference.value == pytest.approx(-0.75, abs=0.2)
    assert refused.figures[2].share is not None
    assert refused.figures[2].share.value == 0.5


def test_the_section_says_what_is_missing_and_shows_the_papers_table() -> None:
    text = section_markdown(arm_section(COMPARED))
    assert "SFT, original is missing: no prompt of these rows" in text
    assert "mmlu was not asked: there is no such file" in text
    assert "25.0 %" in text
    assert "As published" in text
    assert len(missing_lines(COMPARED.comparison)) == 2


def test_simulated_verdicts_and_rows_are_labelled(tmp_path: Path) -> None:
    arms = (ARMS[0], ARMS[2].model_copy(update={"simulated": True}))
    comparison = a_comparison(arms=arms, judge_simulated=True)
    pages = write_arm_pages(tmp_path, ComparedArms(comparison, COMPARED.answers))
    page = pages.html.read_text()
    assert "verdicts were simulated by rule" in page
    assert "teach a model nothing: SFT, ours" in page


def test_variants_are_kept_side_by_side_and_the_same_one_once(tmp_path: Path) -> None:
    archive = ArmArchive(tmp_path)
    retrained = (ARMS[0], ARMS[2].model_copy(update={"weights": "bb"}))
    other = ComparedArms(a_comparison(arms=retrained), COMPARED.answers)
    for compared in (COMPARED, other, COMPARED):
        archive.store(compared)
    stored = list(archive.all())
    assert len(stored) == 2
    assert archive.read(COMPARED.comparison.name) == COMPARED
    titles = [section.title for section in arm_sections(tmp_path)]
    assert len(set(titles)) == 2


def test_a_damaged_comparison_says_what_to_do(tmp_path: Path) -> None:
    archive = ArmArchive(tmp_path)
    archive.store(COMPARED)
    archive.answers_path(COMPARED.comparison).write_text("gone")
    with pytest.raises(SetupError, match="remove the folder and run it again"):
        list(archive.all())


_PRINT = """
import sys
from pathlib import Path
from aidsafe_dagster.cli.training_comparison import print_comparison
from aidsafe_dagster.evaluation.arms import ArmArchive
for compared in ArmArchive(Path(sys.argv[1])).all():
    print_comparison(compared)
"""


def test_the_tables_fit_a_terminal_of_eighty_columns(tmp_path: Path) -> None:
    ArmArchive(tmp_path).store(COMPARED)
    # A process of its own, since the width of a terminal is read at the start.
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT, str(tmp_path)],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.strip().startswith("SFT, ours"))
    assert re.search(r"25\.0 % \[\d\.\d, 69\.9\] .*1 $", row)
    assert any("SFT, original is missing" in line for line in lines)


def test_an_arm_whose_server_answered_nothing_is_told_with_the_reason() -> None:
    arms = (ARMS[0], ARMS[2].model_copy(update={"trouble": "connection refused"}))
    (line, _) = missing_lines(a_comparison(arms=arms))
    assert line.startswith("SFT, ours was asked in vain: connection refused.")
