"""A classifier's answer as probabilities."""

import json
import math
from typing import Any

import pytest

from aidsafe_dagster.engines.log_probabilities import label_text, score_text

LABELS = ("Yes", "No")


def a_choice(text: str, **shares: float) -> dict[str, Any]:
    tops = [
        {"token": token, "logprob": math.log(share)} for token, share in shares.items()
    ]
    return {
        "message": {"content": text},
        "logprobs": {"content": [{"token": text, "top_logprobs": tops}]},
    }


def label_probabilities(choice: dict[str, Any]) -> dict[str, float]:
    text = label_text(choice, LABELS, choice["message"]["content"])
    assert text is not None
    return dict(json.loads(text))


def test_the_probabilities_of_the_first_token_count_for_their_labels() -> None:
    probabilities = label_probabilities(a_choice("Yes", Yes=0.6, No=0.3, Maybe=0.1))
    assert probabilities == {"Yes": pytest.approx(0.6), "No": pytest.approx(0.3)}


def test_case_and_white_space_of_a_label_do_not_matter() -> None:
    choice = a_choice("yes", **{"yes": 0.4, " Yes": 0.2, "NO": 0.4})
    assert label_probabilities(choice) == {
        "Yes": pytest.approx(0.6),
        "No": pytest.approx(0.4),
    }


def test_without_log_probabilities_the_first_word_counts() -> None:
    choice = {"message": {"content": " No, it does not."}}
    assert label_probabilities(choice) == {"Yes": 0.0, "No": 1.0}


@pytest.mark.parametrize("text", ["", "   ", "Perhaps"])
def test_an_answer_without_a_label_gives_none(text: str) -> None:
    assert label_text({}, LABELS, text) is None


def test_the_text_counts_where_the_first_token_begins_the_reasoning() -> None:
    choice = a_choice("No", **{"<think>": 0.9, "Okay": 0.1})
    assert label_probabilities(choice) == {"Yes": 0.0, "No": 1.0}


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"content": []},
        {"content": [{"top_logprobs": None}]},
        {"content": [{"top_logprobs": [{"token": "Yes"}]}]},
        {"content": [{"top_logprobs": [{"token": "Yes", "logprob": "?"}]}]},
        {"content": [{"top_logprobs": [{"token": "Yes", "logprob": math.nan}]}]},
        {"content": "Yes"},
    ],
)
def test_log_probabilities_of_another_form_do_no_harm(logprobs: object) -> None:
    assert json.loads(label_text({"logprobs": logprobs}, LABELS, "No") or "") == {
        "Yes": 0.0,
        "No": 1.0,
    }


def a_position(*log_probabilities: float) -> dict[str, Any]:
    """What a server tells of one token of a prompt, and of likelier ones in its place."""
    return {
        str(token): {"logprob": value, "rank": token + 1}
        for token, value in enumerate(log_probabilities)
    }


def test_a_prompt_scores_the_sum_of_its_own_tokens() -> None:
    positions = [None, a_position(-1.5), a_position(-0.25, -0.1)]
    text = score_text({"prompt_logprobs": positions})
    assert text is not None
    assert json.loads(text) == {"tokens": 3, "log_probability": -1.75}


@pytest.mark.parametrize(
    "positions",
    [
        None,
        [],
        [None],
        "none",
        [None, None],
        [None, {}],
        [None, {"1": {"logprob": None}}],
        [None, {"1": {"logprob": -math.inf}}],
        [None, {"1": -1.5}],
    ],
)
def test_a_server_that_does_not_score_every_token_gives_no_score(
    positions: object,
) -> None:
    assert score_text({"prompt_logprobs": positions}) is None
