"""Scores of held-out rows, with a model whose probabilities are known."""

import json

import pytest

from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.held_out import HeldOutScore, prompt_of, score_row
from aidsafe_dagster.recipe.records import FineTuneRow, Role, Stage
from tests.builders import a_dpo_row, an_sft_row
from tests.recipe.scripted_model import a_conversation, run_dialogue


def words_at_half_a_nat(request: Request) -> str:
    """Count each word, and a begun answer, as a token of log-probability -0.5."""
    words = sum(len(message.content.split()) for message in request.messages)
    tokens = words + len(request.messages)
    return json.dumps({"tokens": tokens, "log_probability": -0.5 * tokens})


def score(row: FineTuneRow) -> tuple[HeldOutScore, list[Request]]:
    conversation = a_conversation(Stage.FINE_TUNE_SPLITS, prompt_of(row))
    dialogue = score_row(conversation, row, "base")
    return run_dialogue(dialogue, words_at_half_a_nat)


def test_an_answer_is_scored_without_its_prompt() -> None:
    row = an_sft_row()
    assert row.messages is not None
    record, requests = score(row)
    assert record.answer is not None
    assert record.answer.tokens == len(row.messages[-1].content.split()) + 1
    assert record.answer.loss == pytest.approx(0.5)
    assert record.rejected is None
    assert [len(request.messages) for request in requests] == [1, 2]
    assert all(request.scores_prompt for request in requests)
    assert {request.role for request in requests} == {Role.CANDIDATE}


def test_both_sides_of_a_pair_are_scored_after_one_reading_of_the_prompt() -> None:
    row = a_dpo_row()
    assert row.chosen is not None
    assert row.rejected is not None
    record, requests = score(row)
    assert len(requests) == 3
    assert record.answer is not None
    assert record.rejected is not None
    assert record.answer.tokens == len(row.chosen[0].content.split()) + 1
    assert record.rejected.tokens == len(row.rejected[0].content.split()) + 1


@pytest.mark.parametrize("text", ["Hello", '{"tokens": 0, "log_probability": -1}'])
def test_what_is_no_score_is_a_problem_of_the_row(text: str) -> None:
    row = an_sft_row()
    conversation = a_conversation(Stage.FINE_TUNE_SPLITS, prompt_of(row))
    record, _ = run_dialogue(score_row(conversation, row, "base"), lambda _: text)
    assert record.answer is None
    assert "not a score" in record.problem


def test_a_template_that_renders_no_answer_is_a_problem_of_the_row() -> None:
    row = an_sft_row()
    conversation = a_conversation(Stage.FINE_TUNE_SPLITS, prompt_of(row))
    same = '{"tokens": 5, "log_probability": -1}'
    record, _ = run_dialogue(score_row(conversation, row, "base"), lambda _: same)
    assert "renders no answer" in record.problem


def test_a_request_for_a_score_has_a_key_of_its_own() -> None:
    row = an_sft_row()
    _, (first, _) = score(row)
    answered = Request(
        **{
            name: getattr(first, name)
            for name in Request.__slots__
            if name != "scores_prompt"
        }
    )
    assert answered.key("m") != first.key("m")
