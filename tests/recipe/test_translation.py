"""Translations of training rows: what is asked, what is accepted, and the rows that come of it."""

import json
from collections.abc import Mapping, Sequence

import pytest

from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, dpo_row, sft_row
from aidsafe_dagster.recipe.languages import LanguageOf
from aidsafe_dagster.recipe.records import FineTuneRow, Message
from aidsafe_dagster.recipe.translation import (
    Original,
    TranslatedRow,
    fine_tune_rows,
    originals,
    translate,
    translated_conversation,
    translator_context,
)
from aidsafe_dagster.settings.schema import PACKAGE
from tests.builders import a_dpo_row, a_pair, a_refined_cot, an_sft_row
from tests.recipe.scripted_model import a_dialogue_context, message_text, run_dialogue

TALK = (
    Message(role="user", content="What is a lock?"),
    Message(role="assistant", content="A thing that a key opens."),
)
SFT = sft_row(a_refined_cot(earlier=TALK), "benign", SplitSettings())
DPO = dpo_row(a_pair(earlier=TALK), SplitSettings())
THOUGHT = (
    "Der Nutzer möchte wissen, wie ein Schloss funktioniert, was allgemein bekannt ist."
)
RESPONSE = (
    "Ein Schloss öffnet sich, wenn der Schlüssel jeden Stift auf die Scherlinie hebt."
)


def tell_german(text: str) -> Mapping[str, float]:
    is_german = any(word in text for word in (" ein ", " der ", " ist", "Ein "))
    return {"de": 1.0} if is_german else {"en": 1.0}


def german(request: Request, **changes: object) -> str:
    counts = {
        name: request.schema["properties"][name]["maxItems"]
        for name in ("turns", "thoughts")
    }
    answer = {
        "turns": ["Wie öffnet ein Schlüssel der Art ein Schloss?"] * counts["turns"],
        "thoughts": [THOUGHT] * counts["thoughts"],
        "response": RESPONSE,
    }
    return json.dumps(answer | changes)


def run(
    original: Original,
    answers: Sequence[Mapping[str, object]] = (),
    language_of: LanguageOf | None = tell_german,
) -> tuple[TranslatedRow, list[Request]]:
    """Translate into German; `answers` are changes of the first answers."""
    context = translator_context(
        a_dialogue_context(language_of=language_of), PACKAGE / "prompts"
    )
    conversation = translated_conversation(context, original, ())
    left = list(answers)

    def model(request: Request) -> str:
        return german(request, **(left.pop(0) if left else {}))

    return run_dialogue(translate(conversation, original, "de"), model)


def test_turns_thoughts_and_response_are_translated_in_one_call() -> None:
    row, (request,) = run(Original(SFT))
    assert "into German: 3 turns, 2 thoughts" in message_text(request)
    assert "A thing that a key opens." in message_text(request)
    assert [turn.role for turn in row.prompt_turns] == ["user", "assistant", "user"]
    assert row.thinking == f"{THOUGHT}\n\n{THOUGHT}"
    assert (row.response, row.language) == (RESPONSE, "de")
    assert row.translated_from == SFT.prompt_id


def test_the_rejected_side_is_translated_by_itself() -> None:
    row, requests = run(Original(SFT, DPO))
    assert len(requests) == 2
    assert SFT.response not in message_text(requests[1])
    sft, dpo = fine_tune_rows(row)
    assert sft.messages is not None
    assert (
        sft.messages[-1].content == f"<think>\n{row.thinking}\n</think>\n\n{RESPONSE}"
    )
    assert dpo.prompt == sft.messages[:-1]
    assert dpo.chosen == sft.messages[-1:]
    assert dpo.rejected is not None
    assert RESPONSE in dpo.rejected[0].content


def test_a_translation_is_in_the_cluster_of_its_original() -> None:
    row, _ = run(Original(SFT.model_copy(update={"cluster": "c7"})))
    alone, _ = run(Original(SFT.model_copy(update={"cluster": ""})))
    assert (row.cluster, alone.cluster) == ("c7", SFT.prompt_id)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {
                "response": "The lock opens when all of its pins stand at the right height."
            },
            "language",
        ),
        ({"response": "Dabei kann ich leider nicht helfen."}, "it declines"),
        ({"response": f"<think>{RESPONSE}"}, "think tag"),
        ({"response": f"{RESPONSE} " * 9}, "longer"),
        ({"thoughts": [THOUGHT]}, "has 1 items where 2 are due"),
    ],
)
def test_what_is_no_translation_is_asked_for_again(
    changes: dict[str, object], reason: str
) -> None:
    row, requests = run(Original(SFT), [changes])
    assert reason in requests[1].messages[-1].content
    assert row.response == RESPONSE


def test_a_row_that_stays_untranslated_fails() -> None:
    english = {
        "response": "The lock opens when all of its pins stand at the right height."
    }
    with pytest.raises(RowFailed, match="another language"):
        run(Original(SFT), [english] * 3)


def test_another_text_of_the_original_is_another_original() -> None:
    changed = SFT.model_copy(update={"response": "Other."})
    assert Original(SFT).content != Original(changed).content
    assert Original(SFT).content != Original(SFT, DPO).content


def test_rows_of_the_train_split_alone_are_translated() -> None:
    rows = [
        an_sft_row(split="train"),
        a_dpo_row(split="train"),
        an_sft_row(prompt_id="p2", split="test"),
        an_sft_row(prompt_id="p3", split="validation"),
        an_sft_row(prompt_id="p4", split="train"),
    ]
    assert _ids(originals(rows)) == [("p1", True), ("p4", False)]


def test_a_pair_with_another_answer_than_the_row_is_left_alone() -> None:
    rows = [an_sft_row(split="train"), a_dpo_row(split="train", response="Other.")]
    assert _ids(originals(rows)) == [("p1", False)]


def _ids(found: Sequence[Original]) -> list[tuple[str, bool]]:
    return [(one.sft.prompt_id, isinstance(one.dpo, FineTuneRow)) for one in found]
