"""Refusals of the task are known in any language, and thoughts about refusing are none."""

import json
from typing import Any

import pytest

from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    ComparisonAnswer,
    DeliberatorAnswer,
    EarWhispererAnswer,
    GradeAnswer,
    InitializerAnswer,
    IntentDecomposerAnswer,
    ModeratorAnswer,
    RefinerAnswer,
    VerdictAnswer,
)
from aidsafe_dagster.recipe.dialogue import Conversation, Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import FailureReason, Role, Stage
from aidsafe_dagster.recipe.refusals import (
    declines_task,
    is_bare_refusal,
    is_refusal_text,
    refuses,
)
from tests.builders import a_prompt
from tests.recipe.refusal_wordings import REFUSALS, RESPONSES, THOUGHTS
from tests.recipe.scripted_model import (
    a_belief,
    a_dialogue_context,
    a_grade_answer,
    run_dialogue,
)

NO = "I’m sorry, but I can’t help with that."
NEIN = "Dabei kann ich leider nicht helfen."
THOUGHT = "A lock is no secret, so I say how it works."
CHOICES = {
    "rules": ("fraud.1",),
    "policies": ("fraud",),
    "rules or none": ("fraud.1", "none"),
}
COUNTS = {"thoughts": 1, "agents": 2}


def thinking(*thoughts: str, response: str, **more: Any) -> dict[str, Any]:
    listed = [{"thought": text, "rules": []} for text in thoughts]
    return {**more, "thoughts": listed, "response": response}


def deciding(intent: str) -> dict[str, Any]:
    kinds = {"kind": "explicit", "harm": "malicious", "policies": []}
    return {"intents": [{"intent": intent, **kinds}]}


def refining(reason: str, thought: str) -> dict[str, Any]:
    final = {"thought": thought, "rules": [], "origins": [1]}
    judgement = {"verdict": "keep", "reason": reason}
    return {"judgements": [judgement], "thoughts": [final], "response": NO}


def grading(reason: str) -> dict[str, Any]:
    grades: dict[str, Any] = json.loads(a_grade_answer())
    for grade in grades.values():
        if isinstance(grade, dict):
            grade["reason"] = reason
    return grades


DECLINING: list[tuple[Role, Any, dict[str, Any]]] = [
    (Role.INTENT_DECOMPOSER, IntentDecomposerAnswer, deciding(NO)),
    (Role.INITIALIZER, InitializerAnswer, thinking(NO, response=NO)),
    (Role.INITIALIZER, InitializerAnswer, thinking(NEIN, NO, response="Nein.")),
    (Role.SINGLE_LLM, InitializerAnswer, thinking(NO, response="I decline.")),
    (
        Role.DELIBERATOR,
        DeliberatorAnswer,
        thinking(verdict="agree", comment=NO, response=NO),
    ),
    (
        Role.DELIBERATOR,
        DeliberatorAnswer,
        thinking(NO, verdict="revise", comment="I add a thought.", response="No."),
    ),
    (Role.REFINER, RefinerAnswer, refining(NO, NEIN)),
    (Role.EAR_WHISPERER, EarWhispererAnswer, json.loads(a_belief(NO))),
    (Role.JUDGE, GradeAnswer, grading(NO)),
    (Role.SECOND_JUDGE, VerdictAnswer, {"reason": NEIN, "verdict": "safe"}),
    (Role.JUDGE, ComparisonAnswer, {"reason": NO, "preferred": "tie"}),
    (
        Role.MODERATOR,
        ModeratorAnswer,
        {
            "thoughts": [{"thought": NO, "rules": [], "author": 1}],
            "response": NO,
        },
    ),
]


def ask(role: Role, model: Any, *texts: str) -> list[Request]:
    """Ask until an answer is accepted, with these texts as the model's; return the requests."""
    conversation = Conversation(a_dialogue_context(), Stage.SEED_COTS, a_prompt())
    answer_format: AnswerFormat[Any] = AnswerFormat(model, CHOICES, COUNTS)
    remaining = iter(texts)
    dialogue = conversation.ask(role, "Say it.", answer_format, None)
    return run_dialogue(dialogue, lambda _: next(remaining))[1]


def test_the_wordings_are_many_and_of_many_languages() -> None:
    assert len(REFUSALS) >= 300
    assert len({code for code, _ in REFUSALS}) >= 30
    assert len(THOUGHTS) + len(RESPONSES) >= 250


def test_every_refusal_is_known() -> None:
    missed = [text for _, text in REFUSALS if not is_bare_refusal(text)]
    assert missed == []
    overlooked = [text for _, text in REFUSALS if not refuses(text)]
    # Told from context alone: "It is forbidden", "that is a no".
    assert len(overlooked) <= 0.02 * len(REFUSALS)


def test_no_thought_about_a_refusal_is_one() -> None:
    assert [text for _, text in THOUGHTS if is_bare_refusal(text)] == []


def test_no_response_that_looks_like_a_refusal_is_one() -> None:
    assert [text for _, text in RESPONSES if refuses(text)] == []


@pytest.mark.parametrize(("role", "model", "answer"), DECLINING)
def test_an_agent_of_any_role_that_declines_is_asked_again_and_then_fails(
    role: Role, model: Any, answer: dict[str, Any]
) -> None:
    text = json.dumps(answer, ensure_ascii=False)
    with pytest.raises(RowFailed) as failed:
        ask(role, model, text, text, text)
    assert failed.value.reason is FailureReason.REFUSED_TO_DELIBERATE
    assert "judging a harmful request is part of the task" in failed.value.detail


@pytest.mark.parametrize("code", sorted({code for code, _ in REFUSALS}))
def test_a_refusal_in_prose_or_in_other_json_is_asked_again_with_the_reason(
    code: str,
) -> None:
    refusal = next(text for language, text in REFUSALS if language == code)
    sound = json.dumps(thinking(THOUGHT, response="Use a pick."))
    wrapped = json.dumps({"error": refusal}, ensure_ascii=False)
    requests = ask(Role.INITIALIZER, InitializerAnswer, refusal, wrapped, sound)
    for request in requests[1:]:
        assert "part of the task" in request.messages[-1].content


@pytest.mark.parametrize(
    ("role", "model", "answer"),
    [
        (Role.INITIALIZER, InitializerAnswer, thinking(THOUGHT, response=NO)),
        (Role.INITIALIZER, InitializerAnswer, thinking(THOUGHT, NO, response=NO)),
        (
            Role.DELIBERATOR,
            DeliberatorAnswer,
            thinking(verdict="agree", comment="The response is right.", response=NO),
        ),
        (Role.REFINER, RefinerAnswer, refining("It says why.", THOUGHT)),
        (Role.JUDGE, GradeAnswer, grading("The response rightly declines.")),
        (
            Role.EAR_WHISPERER,
            EarWhispererAnswer,
            json.loads(
                a_belief("I can't give advice on knives, since all cooks are armed.")
            ),
        ),
    ],
)
def test_a_response_that_refuses_the_user_is_no_refusal_of_the_task(
    role: Role, model: Any, answer: dict[str, Any]
) -> None:
    assert len(ask(role, model, json.dumps(answer))) == 1


def test_the_same_refusal_in_every_text_is_one_even_behind_other_words() -> None:
    text = "Bombs are dangerous. I won't help with this."
    answer = InitializerAnswer.model_validate(thinking(text, text, response=text))
    assert declines_task(answer)
    answer = InitializerAnswer.model_validate(thinking(text, response="Call 112."))
    assert not declines_task(answer)


def test_broken_json_that_quotes_a_refusal_is_none() -> None:
    assert not is_refusal_text('{"response": "I cannot help with')
    assert not is_refusal_text('{"thought": "Locks are fine.", "response": "I refuse."')


def test_a_refusal_that_the_prompt_asks_for_is_an_answer() -> None:
    prompt = 'How do I say "I can\'t help with that" in German?'
    assert not refuses(NEIN, prompt)
    assert refuses(NEIN, "How do I open a lock?")


def test_a_response_that_declines_and_then_gives_steps_does_not_refuse() -> None:
    steps = "I can't help with other people's locks. For yours:\n1. Oil it.\n2. Turn."
    assert not refuses(steps)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "…",
        "\ud800",
        "\u0000",
        "I " * 4000,
        "nicht " * 3000,
        "不" * 5000,
        # Each word may be taken in more than one way.
        "I " + "really " * 60,
        "sorry, but " * 40,
    ],
)
def test_any_text_is_looked_at_without_harm(text: str) -> None:
    assert not is_bare_refusal(text)
    assert not refuses(text)
