"""Worthless answers are asked for again, in any role, and fail the row that keeps giving them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from aidsafe_dagster.recipe.answers import (
    AnswerBounds,
    AnswerFormat,
    DeliberatorAnswer,
    EarWhispererAnswer,
    GradeAnswer,
    InitializerAnswer,
)
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL, BadTextSettings
from aidsafe_dagster.recipe.dialogue import Conversation, Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.languages import LanguageOf
from aidsafe_dagster.recipe.records import FailureReason, Role, Stage
from tests.builders import a_prompt
from tests.recipe.scripted_model import (
    a_belief,
    a_dialogue_context,
    a_grade_answer,
    run_dialogue,
)

CHOICES = {"rules": ("fraud.1",), "rules or none": ("fraud.1", "none")}
MODELS: dict[Role, Any] = {
    Role.SINGLE_LLM: InitializerAnswer,
    Role.INITIALIZER: InitializerAnswer,
    Role.DELIBERATOR: DeliberatorAnswer,
    Role.EAR_WHISPERER: EarWhispererAnswer,
    Role.JUDGE: GradeAnswer,
}
LOOP = "You may pick it now. " * 8
FULL = " ".join(f"Pin {n}." for n in range(40))[:240]
SOUND = "A lock is no secret, so I say how it works."


GERMAN = "Ein Schloss ist kein Geheimnis, also erkläre ich, wie man es öffnen kann."


def tell_german(text: str) -> dict[str, float]:
    return {"de": 1.0} if " ist " in text else {"en": 1.0}


def thinking(*thoughts: str, response: str = "Use a pick.", **more: str) -> str:
    listed = [{"thought": text, "rules": []} for text in thoughts]
    return json.dumps({**more, "thoughts": listed, "response": response})


def deliberating(
    *thoughts: str, verdict: str, response: str = "Use a pick.", comment: str = "Agree."
) -> str:
    return thinking(*thoughts, response=response, verdict=verdict, comment=comment)


def ask(
    role: Role,
    *texts: str,
    settings: BadTextSettings = BadTextSettings(),
    thought_chars: int = 2400,
    language_of: LanguageOf | None = None,
) -> list[Request]:
    """Ask until an answer is accepted, with these texts as the model's; return the requests."""
    context = a_dialogue_context(
        bad_text=settings,
        bounds=AnswerBounds(thought_chars=thought_chars),
        language_of=language_of,
    )
    conversation = Conversation(context, Stage.SEED_COTS, a_prompt())
    answer_format = AnswerFormat(MODELS[role], CHOICES, {"thoughts": 1})
    remaining = iter(texts)
    dialogue = conversation.ask(role, "Say it.", answer_format, None)
    return run_dialogue(dialogue, lambda _: next(remaining))[1]


def reason_of(role: Role, text: str, thought_chars: int = 2400) -> str:
    with pytest.raises(RowFailed) as failed:
        ask(role, *[text] * 3, thought_chars=thought_chars)
    assert failed.value.reason is FailureReason.BAD_TEXT
    return failed.value.detail


def is_accepted(role: Role, text: str) -> bool:
    return len(ask(role, text)) == 1


def test_the_model_reads_what_is_wrong_and_may_mend_it() -> None:
    requests = ask(
        Role.INITIALIZER, thinking("...", SOUND), thinking(LOOP), thinking(SOUND)
    )
    assert "'thought 1': '...' has no words" in requests[1].messages[-1].content
    assert "8 times in a row" in requests[2].messages[-1].content


def test_a_good_answer_is_accepted_at_once() -> None:
    assert is_accepted(Role.INITIALIZER, thinking(SOUND))
    assert is_accepted(Role.JUDGE, a_grade_answer())
    assert is_accepted(Role.EAR_WHISPERER, a_belief())


@pytest.mark.parametrize(
    ("role", "text", "detail"),
    [
        (Role.INITIALIZER, thinking(SOUND, response="<answer>"), "is a placeholder"),
        (Role.INITIALIZER, thinking(SOUND, response="Sure!"), "says nothing"),
        (Role.INITIALIZER, thinking("My thoughts:"), "never comes"),
        (Role.INITIALIZER, thinking("some_policy_id"), "is a name"),
        (Role.SINGLE_LLM, thinking(SOUND, SOUND, SOUND), "say again"),
        (Role.EAR_WHISPERER, a_belief(LOOP), "in a row"),
        (Role.EAR_WHISPERER, a_belief("[belief]"), "is a placeholder"),
        (
            Role.DELIBERATOR,
            deliberating(SOUND, verdict="revise", comment="<comment>"),
            "'comment': '<comment>' is a placeholder",
        ),
        (
            Role.JUDGE,
            a_grade_answer().replace("So much for relevance.", "..."),
            "'reason': '...'",
        ),
    ],
)
def test_a_row_that_keeps_its_bad_text_fails(
    role: Role, text: str, detail: str
) -> None:
    assert detail in reason_of(role, text)


def test_a_text_that_fills_its_bound_is_cut_however_it_ends() -> None:
    detail = reason_of(Role.INITIALIZER, thinking(FULL), thought_chars=len(FULL))
    assert "cut at 240 characters, which is its bound" in detail
    # So low a bound leaves no room for text worth checking.
    assert len(ask(Role.INITIALIZER, thinking(SOUND), thought_chars=len(SOUND))) == 1


def test_nobody_reads_the_response_of_a_turn_that_agrees() -> None:
    text = deliberating(verdict="agree", response="...")
    assert is_accepted(Role.DELIBERATOR, text)
    reason_of(Role.DELIBERATOR, deliberating(SOUND, verdict="revise", response="..."))


def test_agents_may_say_a_thought_again_for_the_refiner_to_drop() -> None:
    assert is_accepted(Role.DELIBERATOR, deliberating(SOUND, SOUND, verdict="revise"))
    reason_of(Role.DELIBERATOR, deliberating(SOUND, SOUND, SOUND, verdict="revise"))
    reason_of(Role.INITIALIZER, thinking(SOUND, SOUND))


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"reject_placeholders": False}, thinking("...")),
        ({"reject_loops": False}, thinking(LOOP)),
        ({"reject_empty_responses": False}, thinking(SOUND, response="Sure.")),
        ({"max_repeated_thoughts": 0.5}, thinking(SOUND, SOUND)),
        ({"reject_cut_text": False}, thinking(FULL)),
    ],
)
def test_each_check_can_be_turned_off(setting: dict[str, Any], text: str) -> None:
    reason_of(Role.INITIALIZER, text, thought_chars=240)
    settings = BadTextSettings.model_validate(setting)
    assert len(ask(Role.INITIALIZER, text, settings=settings, thought_chars=240)) == 1


def test_made_up_text_is_accepted_without_the_checks() -> None:
    text = thinking("...", "...", LOOP, response="string")
    assert len(ask(Role.INITIALIZER, text, settings=ACCEPT_ALL)) == 1


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (thinking(SOUND, response=GERMAN), "response"),
        (thinking(GERMAN), "thought 1"),
    ],
)
def test_text_in_another_language_than_the_prompts_is_asked_for_again(
    text: str, field: str
) -> None:
    sound = thinking(SOUND)
    requests = ask(Role.INITIALIZER, text, sound, language_of=tell_german)
    reask = requests[1].messages[-1].content
    assert f"'{field}': it is in another language ('de') than the user's" in reask


def test_thoughts_may_be_in_any_language_if_a_team_wants_that() -> None:
    settings = BadTextSettings(thoughts_language="any")
    text = thinking(GERMAN)
    assert len(ask(Role.INITIALIZER, text, settings=settings)) == 1
    requests = ask(Role.INITIALIZER, text, settings=settings, language_of=tell_german)
    assert len(requests) == 1


def test_nobody_looks_at_languages_where_the_settings_say_so() -> None:
    settings = BadTextSettings(reject_other_language=False)
    text = thinking(GERMAN, response=GERMAN)
    requests = ask(Role.INITIALIZER, text, settings=settings, language_of=tell_german)
    assert len(requests) == 1


def test_where_one_language_is_due_agents_are_told_and_held_to_it() -> None:
    settings = BadTextSettings(language="de")
    said = f"{SOUND} Anybody may know that."
    english = thinking(said, response=said)
    german = thinking(GERMAN, response=GERMAN)
    requests = ask(
        Role.INITIALIZER,
        english,
        german,
        settings=settings,
        language_of=tell_german,
    )
    assert "Both are in German, whatever" in requests[0].messages[0].content
    assert "than it has to be ('de')" in requests[1].messages[-1].content


def test_a_language_that_nobody_can_tell_is_an_error() -> None:
    with pytest.raises(ValidationError, match="unknown language 'klingon'"):
        BadTextSettings(language="klingon")
