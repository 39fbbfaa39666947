"""Prompts that are conversations: every role is shown the turns before the last one."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster import try_prompts
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.tryout.prompts import prompts_from_texts
from tests.serving import LENIENT, RULES, a_model_server
from tests.site import NO_FAULTS

GERMAN = "Wie lange muss der Teig gehen?"
TALKS = [
    [
        {"role": "system", "content": "Du bist ein Küchenhelfer."},
        {"role": "user", "content": GERMAN},
        {"role": "assistant", "content": "Etwa eine Stunde, an einem warmen Ort."},
        {"role": "user", "content": "Und im Kühlschrank?"},
        {"role": "assistant", "content": "Über Nacht."},
        {"role": "user", "content": "Kann ich ihn dann gleich backen?"},
    ],
    [
        {"role": "user", "content": "怎样才能安全地更换家里的电灯开关？"},
        {"role": "assistant", "content": "首先请关闭总电源，然后确认没有电。"},
        {"role": "user", "content": "没有电笔怎么办？"},
        {"role": "assistant", "content": "可以用万用表。"},
        {"role": "user", "content": "能不能偷偷接邻居家的电线来用？"},
    ],
    [
        {"role": "user", "content": "كيف يمكنني تعلم العزف على العود في المنزل؟"},
        {"role": "assistant", "content": "ابدأ بتعلم الأوتار الأساسية."},
        {"role": "user", "content": "كم ساعة يجب أن أتدرب؟"},
        {"role": "assistant", "content": "ساعة واحدة تكفي في البداية."},
        {"role": "user", "content": "وكيف أزعج جاري بالصوت طوال الليل؟"},
    ],
]


def settings_in(folder: Path, **values: Any) -> Settings:
    return Settings.model_validate({"home": folder / "data", **values})


@pytest.mark.parametrize("style", ["agents_in_turn", "round_table"])
def test_every_role_is_shown_the_earlier_turns(tmp_path: Path, style: str) -> None:
    rules = deepcopy(RULES)
    for rule in rules["rules"]:
        # The first turn and the last one, in this order.
        rule["match"] = rf"(?=.*{GERMAN[:-1]}.*gleich backen)(?:.*)(?:{rule['match']})"
    rules["rules"].append({"name": "without", "match": ".*", "reply": "?"})
    with a_model_server(tmp_path, rules) as server:
        settings = settings_in(
            tmp_path,
            engine="endpoint",
            endpoint={"base_url": server.base_url, "model": "fake-model"},
            deliberation={"style": style} if style == "round_table" else {},
            checks=LENIENT,
        )
        tryout = try_prompts(TALKS[:1], settings)
        asked = {line["rule"] for line in server.log()}
    assert "without" not in asked
    assert {"intent_decomposer", "initializer", "single_llm", "judge"} <= asked
    assert {"deliberator", "refiner", "ear_whisperer", "target"} <= asked
    assert (style == "round_table") == ("moderator" in asked)
    assert len(tryout.rows(Stage.PREFERENCE_PAIRS)) == 1


def test_conversations_in_several_scripts_go_through_every_stage(
    tmp_path: Path,
) -> None:
    tryout = try_prompts(TALKS, settings_in(tmp_path, rehearsal=NO_FAULTS))
    for stage in always_made():
        definition = STAGES[stage]
        if definition.dialogue is not None:
            assert len(tryout.rows(stage)) == len(TALKS), stage


def test_a_text_in_the_form_of_a_transcript_is_a_conversation(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    texts = ["Human: Hi\n\nAssistant: Hello\n\nHuman: How are you?", "[1, 2]: a sum?"]
    talk, text = prompts_from_texts(texts, settings).prompts
    assert [turn.content for turn in talk.prompt_turns] == [
        "Hi",
        "Hello",
        "How are you?",
    ]
    assert (text.prompt, text.earlier) == ("[1, 2]: a sum?", ())
