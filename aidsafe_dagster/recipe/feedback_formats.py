"""Formats of what was judged: process rewards, KTO, reward models, guards, and GRPO.

| format | learns from | rows |
|---|---|---|
| `trl-prm` | the refiner's verdicts on thoughts | one per deliberation |
| `trl-kto` | grades of all answers | one per answer that is clearly good or bad |
| `trl-reward` | the same grades, in pairs | one per answer that is worse than the best one |
| `guard`, `guard-policy`, `guard-llama` | grades and verdicts under one policy | see `guard.py` |
| `trl-grpo` | nothing yet: its rewards are in `aidsafe_dagster.rewards` | one per prompt |
"""

import json
from typing import Any, NamedTuple

from aidsafe_dagster.recipe.deliberation_log import DeliberationStory
from aidsafe_dagster.recipe.feedback import AnswerPair, GradedAnswer
from aidsafe_dagster.recipe.fine_tune_splits import join_thinking, question_of
from aidsafe_dagster.recipe.format_types import (
    LINEAGE,
    REASONING_FIELD,
    Column,
    Format,
    Reasoning,
    as_turns,
    lineage,
)
from aidsafe_dagster.recipe.guard import (
    CATEGORIES,
    CONVERSATION,
    VIOLATIONS,
    GuardVerdict,
)
from aidsafe_dagster.recipe.policies import Policy
from aidsafe_dagster.recipe.records import FineTuneRow, Message, as_text


class Assignment(NamedTuple):
    """A prompt to be answered in training, with what its answers are to be judged by."""

    row: FineTuneRow
    """Its SFT row."""
    rubric: tuple[str, ...]
    """Rules that apply, as `<id>: <text>`."""


def trl_prm(story: DeliberationStory, _: Reasoning) -> dict[str, Any]:
    """Stepwise supervision: a step per deliberated thought, and whether it is right."""
    refined = story.refined
    judgements = {judgement.thought: judgement for judgement in refined.judgements}
    thoughts = refined.deliberated_thoughts
    verdicts = [judgements[thought.number].verdict for thought in thoughts]
    return {
        "prompt": refined.whole,
        "completions": [thought.text for thought in thoughts],
        "labels": [verdict not in VIOLATIONS for verdict in verdicts],
        "verdicts": [str(verdict) for verdict in verdicts],
        "reasons": [judgements[thought.number].reason for thought in thoughts],
        "agents": [thought.agent for thought in thoughts],
        **lineage(refined),
    }


def trl_kto(answer: GradedAnswer, reasoning: Reasoning) -> dict[str, Any]:
    """Unpaired preference, as message lists."""
    return {
        "prompt": _question(answer.row, reasoning),
        "completion": [_reply(answer, reasoning)],
        # Answers without a label are no rows of this format.
        "label": bool(answer.is_desirable),
        "score": answer.score,
        "answer_of": answer.source,
        **lineage(answer.row),
    }


def trl_reward(pair: AnswerPair, reasoning: Reasoning) -> dict[str, Any]:
    """Preference with an explicit prompt, as message lists.

    The scores are beside it and none of them is named `margin`, which the trainer would subtract
    in its loss, on a scale of 4 points.
    """
    return {
        "prompt": _question(pair.row, reasoning),
        "chosen": [_reply(pair.chosen, reasoning)],
        "rejected": [_reply(pair.rejected, reasoning)],
        "score_chosen": pair.chosen.score,
        "score_rejected": pair.rejected.score,
        "chosen_of": pair.chosen.source,
        "rejected_of": pair.rejected.source,
        **lineage(pair.row),
    }


def guard(verdict: GuardVerdict, _: Reasoning) -> dict[str, Any]:
    """The parts of a verdict, for a layout of one's own."""
    return {
        "policy_id": verdict.policy.id,
        "policy": policy_text(verdict.policy),
        "user_prompt": _prompt_of(verdict.row),
        "subject": verdict.subject,
        "text": verdict.text,
        "thoughts": verdict.thoughts,
        "reasoning": verdict.reason,
        "verdict": _word(verdict),
        "rule": verdict.rule,
        "judged_by": verdict.source,
        **lineage(verdict.row),
    }


def guard_policy(verdict: GuardVerdict, reasoning: Reasoning) -> dict[str, Any]:
    """The policy as system message, what is judged as user message, a verdict in JSON.

    So read gpt-oss-safeguard and other reasoning guards that take the policy at inference.
    """
    system = (
        f"{policy_text(verdict.policy)}\n\n"
        "Judge the content by this policy alone. Answer with a JSON object: "
        '"violation" (1 if a rule is broken, else 0) and "rule" (its id, or an empty string).'
    )
    content = (
        f"{_labelled(verdict.row, 'Assistant')}\n\n"
        f"{_said(verdict)}\n\n"
        f"To be judged: the {verdict.subject}."
    )
    rule = verdict.rule if verdict.is_violation else ""
    answer = json.dumps({"violation": int(verdict.is_violation), "rule": rule})
    turns = (
        Message(role="system", content=system),
        Message(role="user", content=content),
        Message(role="assistant", content=join_thinking(verdict.reason, answer)),
    )
    return {
        "messages": as_turns(turns, reasoning),
        "policy_id": verdict.policy.id,
        "verdict": _word(verdict),
        **lineage(verdict.row),
    }


def guard_llama(verdict: GuardVerdict, _: Reasoning) -> dict[str, Any]:
    """Numbered categories and the conversation in one user message, and `safe` or `unsafe`.

    So read Llama Guard and models trained after it: the second line names the categories broken.
    """
    rules = list(verdict.policy.rule_ids)
    texts = verdict.policy.rules.values()
    categories = [f"S{number}: {text}" for number, text in enumerate(texts, start=1)]
    task = "\n".join(
        (
            f"Task: say whether the last message breaks a rule on {verdict.policy.title}.",
            CATEGORIES[0],
            *categories,
            CATEGORIES[1],
            "",
            CONVERSATION[0],
            "",
            _labelled(verdict.row, "Agent"),
            "",
            f"Agent: {_with_thoughts(verdict)}",
            "",
            CONVERSATION[1],
            "",
            "First line: 'safe' or 'unsafe'. If unsafe, second line: the categories broken.",
        )
    )
    answer = "safe"
    if verdict.is_violation:
        answer = f"unsafe\nS{rules.index(verdict.rule) + 1}"
    turns = (
        Message(role="user", content=task),
        Message(role="assistant", content=answer),
    )
    return {
        "messages": as_turns(turns, "inline"),
        "policy_id": verdict.policy.id,
        "verdict": _word(verdict),
        **lineage(verdict.row),
    }


def trl_grpo(assignment: Assignment, _: Reasoning) -> dict[str, Any]:
    """A prompt, and what the reward functions read: kind, rubric and a reference."""
    row = assignment.row
    return {
        "prompt": _question(row, "inline"),
        "prompt_kind": row.prompt_kind,
        "rubric": list(assignment.rubric),
        "reference": row.response,
        "reference_thinking": row.thinking,
        **lineage(row),
    }


def policy_text(policy: Policy) -> str:
    """Return a policy as text: title, purpose, and its rules by id."""
    rules = zip(policy.rule_ids, policy.rules.values(), strict=True)
    lines = [f"{rule}: {text}" for rule, text in rules]
    return "\n".join((f"# {policy.title}", policy.purpose, "", *lines))


def _word(verdict: GuardVerdict) -> str:
    return "violation" if verdict.is_violation else "compliant"


def _said(verdict: GuardVerdict) -> str:
    if verdict.subject == "thought":
        return f"Thought of the assistant: {verdict.text}"
    if verdict.thoughts:
        return f"Thoughts of the assistant:\n{verdict.thoughts}\n\nAssistant: {verdict.text}"
    return f"Assistant: {verdict.text}"


def _with_thoughts(verdict: GuardVerdict) -> str:
    return f"{verdict.thoughts}\n\n{verdict.text}" if verdict.thoughts else verdict.text


def _prompt_of(row: FineTuneRow) -> str:
    return as_text(question_of(row))


def _labelled(row: FineTuneRow, assistant: str) -> str:
    """Return the turns of the prompt, each with its speaker."""
    names = {"assistant": assistant}
    lines = []
    for turn in question_of(row):
        name = names.get(turn.role, turn.role.capitalize())
        lines.append(f"{name}: {turn.content}")
    return "\n\n".join(lines)


def _question(row: FineTuneRow, reasoning: Reasoning) -> list[dict[str, Any]]:
    return as_turns(question_of(row), reasoning)


def _reply(answer: GradedAnswer, reasoning: Reasoning) -> dict[str, Any]:
    turn = {"role": "assistant", "content": answer.response}
    if reasoning == "field":
        return turn | {REASONING_FIELD: answer.cot}
    return turn | {"content": join_thinking(answer.cot, answer.response)}


_QUESTION = Column("messages", "the user turn, after those before it")
_GUARD: dict[str, Column] = {
    "policy_id": Column("string", "id of the policy that it is judged by"),
    "verdict": Column("string", "violation or compliant"),
}
_ANSWER_OF = "refined, deliberated, single_llm, or target: said under a belief"

FEEDBACK_FORMATS = (
    Format(
        name="trl-prm",
        trainer="TRL, PRMTrainer (stepwise supervision)",
        rows="prm",
        columns={
            "prompt": Column(
                "string", "the user's text; of a conversation, all its turns"
            ),
            "completions": Column("strings", "the deliberated thoughts, in order"),
            "labels": Column(
                "bools",
                "false where the refiner found the thought deceptive or policy-inconsistent",
            ),
            "verdicts": Column(
                "strings",
                "the refiner's verdict on each; repetitive and redundant are not wrong",
            ),
            "reasons": Column("strings", "the refiner's reason for each"),
            "agents": Column("strings", "who added each"),
            **LINEAGE,
        },
        convert=trl_prm,
    ),
    Format(
        name="trl-kto",
        trainer="TRL, KTOTrainer (unpaired preference)",
        rows="kto",
        columns={
            "prompt": _QUESTION,
            "completion": Column("messages", "one answer with its reasoning"),
            "label": Column("bool", "whether the answer is desirable"),
            "score": Column("float", "policy score, 1 to 5, mean of the judges"),
            "answer_of": Column("string", _ANSWER_OF),
            **LINEAGE,
        },
        convert=trl_kto,
        has_field=True,
    ),
    Format(
        name="trl-reward",
        trainer="TRL, RewardTrainer (preference)",
        rows="reward",
        columns={
            "prompt": _QUESTION,
            "chosen": Column("messages", "the best answer with its reasoning"),
            "rejected": Column("messages", "a worse answer with its reasoning"),
            "score_chosen": Column("float", "policy score, 1 to 5, mean of the judges"),
            "score_rejected": Column(
                "float", "policy score, 1 to 5, mean of the judges"
            ),
            "chosen_of": Column("string", _ANSWER_OF),
            "rejected_of": Column("string", _ANSWER_OF),
            **LINEAGE,
        },
        convert=trl_reward,
        has_field=True,
    ),
    Format(
        name="guard",
        trainer="any layout of a guard",
        rows="guard",
        columns={
            "policy_id": _GUARD["policy_id"],
            "policy": Column("string", "its text: title, purpose and rules by id"),
            "user_prompt": Column("string", "the user's text"),
            "subject": Column("string", "what is judged: response or thought"),
            "text": Column("string", "the response or the thought"),
            "thoughts": Column(
                "string",
                "the thoughts behind a response, numbered, if the reason speaks of one; else empty",
            ),
            "reasoning": Column("string", "the reason of the judge or the refiner"),
            "verdict": _GUARD["verdict"],
            "rule": Column(
                "string", "id of the rule that decides; may be empty where compliant"
            ),
            "judged_by": Column(
                "string", "the judge and whose answer it was, or refiner"
            ),
            **LINEAGE,
        },
        convert=guard,
    ),
    Format(
        name="guard-policy",
        trainer="TRL, SFTTrainer, for guards that read the policy (gpt-oss-safeguard)",
        rows="guard",
        columns={
            "messages": Column(
                "messages",
                "policy, content, and the verdict in JSON after its reasoning",
            ),
            **_GUARD,
            **LINEAGE,
        },
        convert=guard_policy,
        has_field=True,
    ),
    Format(
        name="guard-llama",
        trainer="TRL, SFTTrainer, for guards in the layout of Llama Guard",
        rows="guard",
        columns={
            "messages": Column(
                "messages",
                "categories and conversation, then 'safe', or 'unsafe' and which",
            ),
            **_GUARD,
            **LINEAGE,
        },
        convert=guard_llama,
    ),
    Format(
        name="trl-grpo",
        trainer="TRL, GRPOTrainer, with the reward functions of aidsafe_dagster.rewards",
        rows="grpo",
        columns={
            "prompt": _QUESTION,
            "prompt_kind": Column("string", "benign, borderline or harmful"),
            "rubric": Column("strings", "the rules that apply, as '<id>: <text>'"),
            "reference": Column("string", "the refined response"),
            "reference_thinking": Column("string", "the refined chain of thought"),
            **LINEAGE,
        },
        convert=trl_grpo,
    ),
)
