"""A classifier's answer as probabilities."""

import json
import math
from typing import Any

import pytest

from aidsafe_dagster.engines.log_probabilities import label_text

LABELS = ("Yes", "No")


def a_choice(said: str, **shares: float) -> dict[str, Any]:
    tops = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
    return {
        "message": {"content": said},
        "logprobs": {"content": [{"token": said, "top_logprobs": tops}]},
    }


def test_the_first_tokens_probabilities_count_for_their_labels() -> None:
    found = json.loads(label_text(a_choice("Yes", Yes=0.6, No=0.3, Maybe=0.1), LABELS) or "")
    assert found == {"Yes": pytest.approx(0.6), "No": pytest.approx(0.3)}


def test_case_and_white_space_do_not_part_a_label() -> None:
    found = json.loads(
        label_text(a_choice("yes", **{"yes": 0.4, " Yes": 0.2, "NO": 0.4}), LABELS) or ""
    )
    assert found == {"Yes": pytest.approx(0.6), "No": pytest.approx(0.4)}


def test_without_probabilities_what_was_said_is_believed() -> None:
    assert json.loads(label_text({"message": {"content": " No, it does not."}}, LABELS) or "") == {
        "Yes": 0.0,
        "No": 1.0,
    }


@pytest.mark.parametrize("said", ["", "   ", "Perhaps"])
def test_an_answer_that_is_no_label_is_none(said: str) -> None:
    assert label_text({"message": {"content": said}}, LABELS) is None
