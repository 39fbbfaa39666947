"""Faults of templates that keep, drop or double the reasoning; each imitates a template in use."""

import pytest

from aidsafe_dagster.publishing.chat_template import ChatTemplate
from aidsafe_dagster.publishing.template_check import (
    TemplateReport,
    check_template,
    probe_rows,
)
from aidsafe_dagster.recipe.fine_tune_splits import join_thinking
from aidsafe_dagster.recipe.format_types import Reasoning
from aidsafe_dagster.recipe.records import FineTuneRow, Message
from tests.builders import a_dpo_row, an_sft_row

OPENING = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
TURNS = "{% for m in messages %}<|{{ m.role }}|>SAY<|end|>\n{% endfor %}" + OPENING
PLAIN = TURNS.replace("SAY", "{{ m.content | trim }}")
RESPONSE = "{{ m.content.split('</think>')[-1] | trim }}"
DROPS = TURNS.replace("SAY", RESPONSE)
DROPS_HISTORY = TURNS.replace(
    "SAY", "{% if loop.last %}{{ m.content }}{% else %}" + RESPONSE + "{% endif %}"
)
DOUBLES = TURNS.replace(
    "SAY", "{% if m.role == 'assistant' %}{{ m.content }}{% endif %}{{ m.content }}"
)
EMPTY_THOUGHT = TURNS.replace(
    "SAY",
    "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}",
)
BOTH_FORMS = TURNS.replace(
    "SAY",
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content }}",
)
MARKED = TURNS.replace(
    "SAY",
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}",
)
OPENS_THINKING = PLAIN.replace(
    "<|assistant|>{% endif %}", "<|assistant|><think>\n\n</think>\n\n{% endif %}"
)
SPOKEN_AS_BLOCKS = TURNS.replace("SAY", "{{ m.content[0].text + '' }}")


def check(source: str, *rows: FineTuneRow) -> TemplateReport:
    return check_template(ChatTemplate("a template", source, {}), rows or probe_rows())


def faults(
    report: TemplateReport, form: Reasoning = "inline"
) -> dict[str, dict[str, int]]:
    return {
        outcome.side: dict(outcome.faults)
        for outcome in report.outcomes
        if outcome.form == form
    }


def on_all_sides(**counts: int) -> dict[str, dict[str, int]]:
    """The same faults on all sides."""
    by_fault = {name.replace("_", " "): count for name, count in counts.items()}
    return dict.fromkeys(("sft", "chosen", "rejected"), by_fault)


def test_a_plain_template_keeps_inline_reasoning_and_drops_the_field() -> None:
    report = check(PLAIN, an_sft_row(), a_dpo_row())
    assert faults(report) == on_all_sides()
    assert faults(report, "field") == on_all_sides(CoT_lost=1)
    assert (report.survives("inline"), report.survives("field")) == (True, False)


def test_dropped_reasoning_is_a_fault() -> None:
    assert faults(check(DROPS)) == on_all_sides(CoT_lost=1)


def test_dropping_reasoning_of_earlier_turns_is_no_fault_for_single_turn_rows() -> None:
    report = check(DROPS_HISTORY)
    assert report.survives("inline")
    assert report.keeps_history is False
    assert check(PLAIN).keeps_history is True


def test_doubled_text_is_a_fault() -> None:
    assert faults(check(DOUBLES))["sft"] == {
        "CoT doubled": 1,
        "response doubled": 1,
        "think tags doubled": 1,
    }


def test_an_added_empty_thought_is_a_fault() -> None:
    assert faults(check(EMPTY_THOUGHT)) == on_all_sides(think_tags_doubled=1)


def test_a_template_with_the_reasoning_field_keeps_both_forms() -> None:
    report = check(BOTH_FORMS)
    assert report.survives("inline")
    assert report.survives("field")


def test_a_lost_response_is_a_fault() -> None:
    assert faults(check(TURNS.replace("SAY", "…"))) == on_all_sides(
        CoT_lost=1, response_lost=1
    )


def test_generation_markers_and_the_rows_within_them_are_counted() -> None:
    report = check(MARKED, an_sft_row(), an_sft_row(prompt_id="p2"))
    (inline,) = [outcome for outcome in report.outcomes if outcome.form == "inline"]
    assert (report.generation_markers, inline.rows_in_markers, inline.rows) == (
        True,
        2,
        2,
    )
    assert check(PLAIN).generation_markers is False


def test_a_prompt_that_does_not_start_the_conversation_is_counted() -> None:
    report = check(OPENS_THINKING)
    assert report.survives("inline")
    assert [outcome.prompt_mismatches for outcome in report.outcomes] == [1] * 6


def test_a_template_that_refuses_text_is_reported_with_its_error() -> None:
    report = check(SPOKEN_AS_BLOCKS)
    assert faults(report) == on_all_sides(refused_by_the_template=1)
    assert "has no attribute 'text'" in report.outcomes[0].first_error
    assert report.keeps_history is None


@pytest.mark.parametrize("response", ["Yes.", "The response quotes: A lock."])
def test_a_thought_that_quotes_the_prompt_or_the_response_is_no_fault(
    response: str,
) -> None:
    prompt = Message(role="user", content="A lock.")
    thinking = f"A lock. I will say: {response}"
    answer = Message(role="assistant", content=join_thinking(thinking, response))
    row = an_sft_row(messages=(prompt, answer))
    assert check(PLAIN, row).survives("inline")
