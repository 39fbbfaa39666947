import re
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from aidsafe_dagster.quality.tokens import estimate_tokens
from aidsafe_dagster.recipe.context_plan import (
    EXTREME,
    FULL,
    LIKELY,
    PlannedRequest,
    plan_requests,
)
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.settings.schema import Settings
from tests.recipe.scripted_model import a_dialogue_context
from tests.site import ROOT


def plan(
    settings: Settings, sizes: Any = LIKELY, stages: Any = None
) -> list[PlannedRequest]:
    context = a_dialogue_context(
        policies=settings.load_policies(),
        templates=load_templates(settings.prompts),
        bounds=settings.answers,
        sampling=settings.sampling,
        count_tokens=estimate_tokens,
    )
    return plan_requests(context, settings, sizes, stages)


def plan_of_initializer(settings: Settings, sizes: Any) -> list[PlannedRequest]:
    requests = plan(settings, sizes, [Stage.SEED_COTS])
    return [request for request in requests if request.speaker == "initializer"]


def settings_of(**changes: Any) -> Settings:
    return Settings.model_validate(changes)


def preset_for_4096_tokens() -> dict[str, Any]:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (preset,) = [block for block in blocks if "context_length = 4096" in block]
    return tomllib.loads(preset)


def test_every_role_that_is_asked_is_in_the_plan() -> None:
    settings = settings_of(grading={"judges": 2})
    assert {request.speaker for request in plan(settings)} == {
        "single_llm",
        "intent_decomposer",
        "initializer",
        "deliberator_1",
        "deliberator_2",
        "refiner",
        "judge",
        "second_judge",
        "ear_whisperer",
        "target",
    }


def test_agents_that_never_agree_take_all_rounds() -> None:
    settings = settings_of(deliberation={"max_rounds": 4, "agents": 3})
    titles = [request.title for request in plan(settings)]
    turns = [title for title in titles if title.startswith("deliberator")]
    assert turns[0] == "deliberator_1, round 1"
    assert turns[-1] == "deliberator_3, round 4"
    assert len(turns) == 12
    assert "refiner, after round 4" in titles


def test_a_round_table_has_a_moderator_in_every_round() -> None:
    settings = settings_of(deliberation={"style": "round_table"})
    titles = [request.title for request in plan(settings)]
    assert [title for title in titles if "moderator" in title] == [
        "moderator, round 1",
        "moderator, round 2",
        "moderator, round 3",
    ]


def test_a_guard_is_in_the_plan_where_one_scores() -> None:
    speakers = {
        request.speaker for request in plan(settings_of(pairs={"scorer": "guard"}))
    }
    assert "guard" in speakers


def test_only_the_stages_that_are_named_are_returned() -> None:
    requests = plan(Settings(), stages=[Stage.REFINED_COTS])
    assert [request.speaker for request in requests] == ["refiner"]


def test_answers_keep_within_the_bounds_of_the_settings() -> None:
    short = settings_of(answers={"thoughts": 2, "thought_chars": 80})
    (refiner,) = plan(short, stages=[Stage.REFINED_COTS])
    (usual,) = plan(Settings(), stages=[Stage.REFINED_COTS])
    assert refiner.answer_tokens < usual.answer_tokens / 2
    assert refiner.prompt_tokens < usual.prompt_tokens


def test_a_chat_takes_more_at_every_round() -> None:
    fresh = plan(
        settings_of(deliberation={"context": "fresh"}), stages=[Stage.DELIBERATED_COTS]
    )
    chat = plan(
        settings_of(deliberation={"context": "chat"}), stages=[Stage.DELIBERATED_COTS]
    )
    growth = [
        longer.prompt_tokens - shorter.prompt_tokens
        for longer, shorter in zip(chat, fresh, strict=True)
    ]
    assert growth == sorted(growth)
    assert growth[0] > 0


def test_unusually_long_rows_take_more_than_long_ones() -> None:
    likely, extreme = plan(Settings(), LIKELY), plan(Settings(), EXTREME)
    assert len(likely) == len(extreme)
    for usual, unusual in zip(likely, extreme, strict=True):
        assert unusual.tokens > usual.tokens


def test_no_role_may_by_default_write_more_than_max_tokens() -> None:
    settings = settings_of(grading={"judges": 2})
    assert settings.sampling.max_tokens is not None
    for request in plan(settings, FULL):
        assert request.answer_tokens <= settings.sampling.max_tokens, request


def test_a_full_answer_fills_every_bound() -> None:
    bounds = {"thoughts": 2, "thought_chars": 80, "response_chars": 400}
    (initializer,) = plan_of_initializer(settings_of(answers=bounds), FULL)
    (usual,) = plan_of_initializer(settings_of(answers=bounds), LIKELY)
    # Eight rules a thought, in place of two.
    assert (
        usual.answer_tokens < initializer.answer_tokens < 2 * usual.answer_tokens + 99
    )


@pytest.mark.parametrize("style", ["in_turn", "round_table"])
def test_the_defaults_fit_a_model_of_8192_tokens(style: str) -> None:
    settings = settings_of(deliberation={"style": style}, grading={"judges": 2})
    assert len(settings.load_policies().policies) == 5
    assert settings.deliberation.max_rounds == 3
    for request in plan(settings):
        assert request.tokens <= 8192, request


def test_a_chat_of_three_rounds_does_not_fit_8192_tokens() -> None:
    requests = plan(settings_of(deliberation={"context": "chat"}))
    assert max(request.tokens for request in requests) > 8192


@pytest.mark.parametrize(
    "sizes", [LIKELY, EXTREME, FULL], ids=["long", "unusually long", "full"]
)
def test_the_documented_preset_fits_a_model_of_4096_tokens(sizes: Any) -> None:
    settings = settings_of(**preset_for_4096_tokens())
    longest_prompt = min(sizes.prompt_chars, settings.ingest.max_prompt_chars)
    for request in plan(settings, replace(sizes, prompt_chars=longest_prompt)):
        # An engine takes a prompt for a little longer than it is.
        if sizes is not FULL:
            assert request.tokens + 64 <= 4096, request
        assert settings.sampling.max_tokens is not None
        assert request.answer_tokens <= settings.sampling.max_tokens
