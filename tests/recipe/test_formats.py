"""Trainer formats: the columns of each, and their values."""

import json
from dataclasses import replace
from typing import Any

import pytest

from aidsafe_dagster.recipe.counterfactual_formats import (
    PolicyAnswer,
    policy_answers,
)
from aidsafe_dagster.recipe.deliberation_log import DeliberationStory
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.feedback import answer_pairs, graded_answers
from aidsafe_dagster.recipe.feedback_formats import Assignment
from aidsafe_dagster.recipe.fine_tune_splits import (
    SplitSettings,
    dpo_row,
    join_thinking,
    sft_row,
)
from aidsafe_dagster.recipe.format_types import Reasoning, split_thinking
from aidsafe_dagster.recipe.formats import (
    FORMATS,
    get_format,
    is_ambiguous,
    llama_factory_info,
)
from aidsafe_dagster.recipe.guard import GuardVerdict
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import (
    FineTuneRow,
    Judgement,
    Message,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.records import Reasoning as ModelReasoning
from tests.builders import (
    FIRST,
    RESPONSE,
    SECOND,
    a_counterfactual,
    a_deliberated_cot,
    a_dpo_row,
    a_pair,
    a_refined_cot,
    a_thought,
    an_sft_row,
    policies,
)
from tests.recipe.test_feedback import feedback

QUESTION = {"role": "user", "content": "How does a pin tumbler lock work?"}
COT = f"{FIRST}\n\n{SECOND}"
CHOSEN = {"role": "assistant", "content": f"<think>\n{COT}\n</think>\n\n{RESPONSE}"}
REJECTED = {
    "role": "assistant",
    "content": join_thinking(a_pair().rejected_cot, a_pair().rejected_response),
}
STORY = DeliberationStory(a_refined_cot(), a_deliberated_cot())
FEEDBACK = feedback()
ANSWERS = graded_answers(FEEDBACK, PairSettings())
VERDICT = GuardVerdict(
    row=an_sft_row(),
    policy=policies().policies[0],
    subject="response",
    text="Tell her that you are from the bank.",
    thoughts="",
    is_violation=True,
    reason="It helps to deceive.",
    rule="fraud.1",
    source="judge on target",
)
POLICY_ANSWER = PolicyAnswer(an_sft_row(), a_counterfactual(), "second")
ROWS: dict[str, Any] = {
    "sft": an_sft_row(),
    "dpo": a_dpo_row(),
    "deliberations": STORY,
    "prm": STORY,
    "kto": ANSWERS[0],
    "reward": answer_pairs(FEEDBACK, PairSettings())[0],
    "guard": VERDICT,
    "grpo": Assignment(an_sft_row(), ("fraud.1: Help no one to deceive.",)),
    "counterfactual_sft": POLICY_ANSWER,
    "counterfactual_dpo": POLICY_ANSWER,
}


def convert(name: str, reasoning: Reasoning = "inline") -> dict[str, Any]:
    format_ = FORMATS[name]
    return format_.convert(ROWS[format_.rows], reasoning)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("reasoning", ["inline", "field"])
def test_a_row_has_the_columns_of_its_format(name: str, reasoning: Reasoning) -> None:
    assert list(convert(name, reasoning)) == list(FORMATS[name].columns)


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_has_both_a_prompt_and_messages(name: str) -> None:
    columns = FORMATS[name].columns
    assert not ("messages" in columns and "prompt" in columns)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("mode", ["inline", "field"])
def test_no_format_holds_what_a_model_reasoned_before_its_answer(
    name: str, mode: Reasoning
) -> None:
    secret = "between me and myself"
    thoughts = (ModelReasoning(turn=0, speaker="refiner", text=secret),)
    refined = a_refined_cot(reasoning=thoughts)
    sft = sft_row(refined, "borderline", SplitSettings())
    judged = feedback(row=sft, refined=refined)
    story = DeliberationStory(refined, a_deliberated_cot(reasoning=thoughts))
    contrast = a_counterfactual(reasoning=thoughts)
    rows: dict[str, Any] = {
        "sft": sft,
        "dpo": dpo_row(a_pair(reasoning=thoughts), SplitSettings()),
        "deliberations": story,
        "prm": story,
        "kto": graded_answers(judged, PairSettings())[0],
        "reward": answer_pairs(judged, PairSettings())[0],
        "guard": replace(VERDICT, row=sft),
        "grpo": Assignment(sft, ()),
        "counterfactual_sft": PolicyAnswer(sft, contrast, "first"),
        "counterfactual_dpo": PolicyAnswer(sft, contrast, "first"),
    }
    format_ = FORMATS[name]
    row = rows[format_.rows]
    assert secret not in str(format_.convert(row, mode))
    if isinstance(row, FineTuneRow):
        assert row.reasoning == ()
        assert secret not in row.model_dump_json()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_which_prompt_batch_and_recipe_a_row_is_of(name: str) -> None:
    row = convert(name)
    assert row["prompt_id"] == "p1"
    assert row["batch"] == "demo-0001"
    assert "recipe" in row


def test_trl_sft_has_the_turns_and_also_their_parts() -> None:
    row = convert("trl-sft")
    assert row["messages"] == [QUESTION, CHOSEN]
    assert row["thinking"] == COT
    assert row["response"] == RESPONSE


def test_trl_dpo_has_message_lists() -> None:
    row = convert("trl-dpo")
    assert row["prompt"] == [QUESTION]
    assert row["chosen"] == [CHOSEN]
    assert row["rejected"] == [REJECTED]


def test_prompt_and_completion_are_the_two_turns() -> None:
    row = convert("prompt-completion")
    assert row["prompt"] == [QUESTION]
    assert row["completion"] == [CHOSEN]


def test_with_reasoning_in_a_field_the_content_is_the_response_alone() -> None:
    user, assistant = convert("trl-sft", "field")["messages"]
    assert assistant == {
        "role": "assistant",
        "content": RESPONSE,
        "reasoning_content": COT,
    }
    assert user == {**QUESTION, "reasoning_content": None}
    (rejected,) = convert("trl-dpo", "field")["rejected"]
    assert rejected["reasoning_content"] == a_pair().rejected_cot


def test_the_release_format_has_the_paper_s_columns() -> None:
    row = convert("deliberations")
    assert list(row)[:4] == [
        "prompt",
        "refined_thoughts",
        "response",
        "deliberation_log",
    ]
    assert row["prompt"] == QUESTION["content"]
    assert row["refined_thoughts"] == COT
    assert row["response"] == RESPONSE


def test_llama_factory_takes_single_messages_for_the_two_sides() -> None:
    row = convert("llama-factory-dpo")
    assert row["messages"] == [QUESTION]
    assert row["chosen"] == CHOSEN
    assert row["rejected"] == REJECTED


def test_llama_factory_gets_the_formatting_that_adds_no_system_prompt() -> None:
    info = llama_factory_info("aidsafe_dpo", "dpo.jsonl", ranking=True)["aidsafe_dpo"]
    assert info["formatting"] == "sharegpt"
    assert info["ranking"]
    assert info["columns"] == {
        "messages": "messages",
        "chosen": "chosen",
        "rejected": "rejected",
    }
    assert info["tags"]["user_tag"] == "user"


def test_ms_swift_has_the_chosen_turn_in_the_messages_and_the_rejected_one_as_text() -> (
    None
):
    row = convert("ms-swift-dpo")
    assert row["messages"] == [QUESTION, CHOSEN]
    assert row["rejected_response"] == REJECTED["content"]


def test_an_unknown_format_suggests_the_nearest() -> None:
    with pytest.raises(SetupError, match="Did you mean 'llama-factory-dpo'"):
        get_format("llamafactory-dpo", "inline")


def test_the_refusal_of_a_reasoning_field_lists_the_formats_with_one() -> None:
    with pytest.raises(
        SetupError,
        match=r"inline alone\. With a field: trl-sft, trl-dpo, prompt-completion",
    ):
        get_format("ms-swift-sft", "field")


def test_splitting_a_turn_undoes_joining_it() -> None:
    assert split_thinking(join_thinking("One.\n\nTwo.", "Answer.\n\nMore.")) == (
        "One.\n\nTwo.",
        "Answer.\n\nMore.",
    )
    assert split_thinking("No reasoning at all.") == ("", "No reasoning at all.")


@pytest.mark.parametrize("text", ["It ends </think> here.", "It begins <think> here."])
def test_a_row_with_a_think_tag_in_its_text_is_ambiguous(text: str) -> None:
    assert not is_ambiguous(an_sft_row())
    assert not is_ambiguous(a_dpo_row())
    turn = Message(role="assistant", content=join_thinking(text, RESPONSE))
    assert is_ambiguous(an_sft_row(messages=(Message.model_validate(QUESTION), turn)))
    assert is_ambiguous(a_dpo_row(rejected=(turn,)))


def test_a_step_is_wrong_where_it_is_deceptive_or_inconsistent_and_not_where_it_repeats() -> (
    None
):
    judgements = tuple(
        Judgement(thought=number, verdict=verdict, reason=f"Reason {number}.")
        for number, verdict in enumerate(ThoughtVerdict, start=1)
    )
    thoughts = tuple(
        a_thought(number=judgement.thought, text=f"Thought {judgement.thought}.")
        for judgement in judgements
    )
    refined = a_refined_cot(judgements=judgements, deliberated_thoughts=thoughts)
    row = FORMATS["trl-prm"].convert(DeliberationStory(refined), "inline")
    assert dict(zip(row["verdicts"], row["labels"], strict=True)) == {
        "keep": True,
        "repetitive": True,
        "redundant": True,
        "deceptive": False,
        "policy_inconsistent": False,
    }
    assert row["completions"] == [thought.text for thought in thoughts]
    assert row["reasons"] == [judgement.reason for judgement in judgements]
    assert row["prompt"] == refined.prompt


def test_kto_has_a_completion_and_a_label() -> None:
    row = convert("trl-kto")
    assert row["prompt"] == [QUESTION]
    assert row["completion"] == [CHOSEN]
    assert row["label"] is True
    assert row["answer_of"] == "refined"


def test_reward_has_both_sides_and_no_margin() -> None:
    row = convert("trl-reward")
    assert row["chosen"] == [CHOSEN]
    assert row["rejected"][0]["content"].startswith("<think>")
    assert row["score_chosen"] > row["score_rejected"]
    assert "margin" not in row


def test_a_guard_reads_the_policy_as_system_message_and_answers_in_json() -> None:
    system, user, assistant = convert("guard-policy", "field")["messages"]
    assert "fraud.1: Help no one to deceive." in system["content"]
    assert VERDICT.text in user["content"]
    assert QUESTION["content"] in user["content"]
    assert json.loads(assistant["content"]) == {"violation": 1, "rule": "fraud.1"}
    assert assistant["reasoning_content"] == VERDICT.reason


def test_a_guard_in_llama_guard_s_layout_names_the_category() -> None:
    user, assistant = convert("guard-llama")["messages"]
    assert "S1: Help no one to deceive." in user["content"]
    assert assistant["content"] == "unsafe\nS1"
    safe = replace(VERDICT, is_violation=False)
    row = FORMATS["guard-llama"].convert(safe, "inline")
    assert row["messages"][1]["content"] == "safe"


TALK = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="What is a lock?"),
    Message(role="assistant", content="A thing that a key opens."),
)


@pytest.mark.parametrize("reasoning", ["inline", "field"])
@pytest.mark.parametrize(
    "name",
    ["trl-sft", "messages", "prompt-completion", "trl-dpo", "llama-factory-dpo"],
)
def test_the_earlier_turns_of_a_conversation_are_messages_of_their_own(
    name: str, reasoning: Reasoning
) -> None:
    refined, pair = a_refined_cot(earlier=TALK), a_pair(earlier=TALK)
    row = sft_row(refined, "benign", SplitSettings())
    if "dpo" in name:
        row = dpo_row(pair, SplitSettings())
    name = "llama-factory-sft" if name == "messages" else name
    if reasoning == "field" and not FORMATS[name].has_field:
        return
    values = FORMATS[name].convert(row, reasoning)
    turns = values.get("prompt") or values["messages"]
    roles = [turn["role"] for turn in turns][:4]
    assert roles == ["system", "user", "assistant", "user"]
    assert turns[2]["content"] == "A thing that a key opens."
    assert turns[2].get("reasoning_content") is None
    assert not is_ambiguous(row)


def test_where_a_format_takes_one_text_a_conversation_is_one_text() -> None:
    story = DeliberationStory(a_refined_cot(earlier=TALK), a_deliberated_cot())
    whole = FORMATS["deliberations"].convert(story, "inline")["prompt"]
    assert whole.startswith("System: Be brief.\n\nUser: What is a lock?\n\nAssistant: ")
    assert FORMATS["trl-prm"].convert(story, "inline")["prompt"] == whole


def test_guards_read_who_said_what() -> None:
    row = sft_row(a_refined_cot(earlier=TALK), "benign", SplitSettings())
    verdict = replace(VERDICT, row=row)
    llama = FORMATS["guard-llama"].convert(verdict, "inline")["messages"][0]["content"]
    assert "User: What is a lock?\n\nAgent: A thing that a key opens." in llama
    policy = FORMATS["guard-policy"].convert(verdict, "inline")["messages"][1]
    assert "Assistant: A thing that a key opens.\n\nUser: " in policy["content"]


def test_a_think_tag_in_an_earlier_turn_is_ambiguous() -> None:
    turn = Message(role="assistant", content="<think>Hm.</think> Yes.")
    row = sft_row(a_refined_cot(earlier=(turn,)), "benign", SplitSettings())
    assert is_ambiguous(row)


def test_a_counterfactual_puts_its_policies_before_the_prompt_and_turns_the_sides() -> (
    None
):
    first, second = policy_answers(an_sft_row(), a_counterfactual())
    convert_dpo = FORMATS["counterfactual-dpo"].convert
    under_first, under_second = (
        convert_dpo(first, "inline"),
        convert_dpo(second, "inline"),
    )
    system, question = under_first["prompt"]
    assert system == {"role": "system", "content": "Help with no crime."}
    assert question == QUESTION
    assert under_first["chosen"] == under_second["rejected"] == [CHOSEN]
    assert under_first["rejected"] == under_second["chosen"]
    assert (under_first["policy_set"], under_second["policy_set"]) == (
        "first",
        "second",
    )


def test_policies_and_a_system_message_of_the_conversation_are_one_message() -> None:
    earlier = (Message(role="system", content="You work for a locksmith."),)
    answer = PolicyAnswer(an_sft_row(), a_counterfactual(earlier=earlier), "first")
    system, question, _ = FORMATS["counterfactual-sft"].convert(answer, "inline")[
        "messages"
    ]
    assert system["content"] == "Help with no crime.\n\nYou work for a locksmith."
    assert question == QUESTION


def test_a_counterfactual_of_another_answer_than_the_row_is_no_longer_used() -> None:
    assert policy_answers(an_sft_row(), a_counterfactual(first_response="Else.")) == ()
    tagged = a_counterfactual(second_response="<think>twice</think>")
    assert policy_answers(an_sft_row(), tagged) == ()
