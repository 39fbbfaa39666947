"""Formats of policy counterfactuals: the policies as system message, and the answer due there.

| format | learns from | rows |
|---|---|---|
| `counterfactual-sft` | the answer under each set of policies | two per pair |
| `counterfactual-dpo` | the same, beside the answer of the other set | one or two per pair |

A DPO row is made where the answer of the other set is wrong: mostly under both.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from aidsafe_dagster.recipe.fine_tune_splits import join_thinking
from aidsafe_dagster.recipe.format_types import (
    CLOSE,
    LINEAGE,
    OPEN,
    Column,
    Format,
    Reasoning,
    as_turns,
    lineage,
)
from aidsafe_dagster.recipe.records import (
    FineTuneRow,
    Message,
    PolicyCounterfactual,
    PolicySet,
)

SETS: tuple[PolicySet, ...] = ("first", "second")
_OTHER: dict[PolicySet, PolicySet] = {"first": "second", "second": "first"}


class PolicyAnswer(NamedTuple):
    """A prompt under one of the two sets, with the answer that is right there."""

    row: FineTuneRow
    """The SFT row of the prompt: its split and its floor hold for both sets."""
    pair: PolicyCounterfactual
    policy_set: PolicySet

    @property
    def policies_version(self) -> str:
        if self.policy_set == "first":
            return self.pair.policies_version
        return self.pair.second_policies_version


def policy_answers(
    row: FineTuneRow, pair: PolicyCounterfactual
) -> Sequence[PolicyAnswer]:
    """Return what can be trained on of a counterfactual; nothing if it no longer holds.

    It holds as long as its first answer is that of the SFT row. An answer that has a think tag in
    its own text is in no format, since nobody could tell where its reasoning ends.
    """
    first = (pair.first_cot, pair.first_response)
    texts = (*first, pair.second_cot, pair.second_response)
    is_ambiguous = any(tag in text for tag in (OPEN, CLOSE) for text in texts)
    if first != (row.thinking, row.response) or is_ambiguous:
        return ()
    return [PolicyAnswer(row, pair, which) for which in SETS]


def can_be_paired(answer: PolicyAnswer) -> bool:
    """Tell whether the answer of the other set is wrong under this one."""
    return answer.policy_set in answer.pair.wrong_under


def counterfactual_sft(answer: PolicyAnswer, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational language modelling, with the policies as system message."""
    thinking, response = _texts(answer.pair, answer.policy_set)
    turns = (*_question(answer), _assistant(thinking, response))
    return {
        "messages": as_turns(turns, reasoning),
        "thinking": thinking,
        "response": response,
        **_about(answer),
    }


def counterfactual_dpo(answer: PolicyAnswer, reasoning: Reasoning) -> dict[str, Any]:
    """Conversational preference: rejected is what is right under the other set alone."""
    chosen = _texts(answer.pair, answer.policy_set)
    rejected = _texts(answer.pair, _OTHER[answer.policy_set])
    return {
        "prompt": as_turns(_question(answer), reasoning),
        "chosen": as_turns((_assistant(*chosen),), reasoning),
        "rejected": as_turns((_assistant(*rejected),), reasoning),
        **_about(answer),
    }


def _question(answer: PolicyAnswer) -> tuple[Message, ...]:
    """Return the turns before the answer. A conversation's own system message follows the
    policies, in one message with them: chat templates take one."""
    is_first = answer.policy_set == "first"
    content = answer.pair.first_system if is_first else answer.pair.second_system
    turns = answer.pair.prompt_turns
    if turns[0].role == "system":
        content = f"{content}\n\n{turns[0].content}"
        turns = turns[1:]
    return (Message(role="system", content=content), *turns)


def _texts(pair: PolicyCounterfactual, which: PolicySet) -> tuple[str, str]:
    if which == "first":
        return pair.first_cot, pair.first_response
    return pair.second_cot, pair.second_response


def _assistant(thinking: str, response: str) -> Message:
    return Message(role="assistant", content=join_thinking(thinking, response))


def _about(answer: PolicyAnswer) -> dict[str, Any]:
    return {
        "policy_set": answer.policy_set,
        "policies": answer.policies_version,
        **lineage(answer.pair),
    }


_QUESTION = Column(
    "messages", "the policies as system message, then the prompt's turns"
)
_SET: dict[str, Column] = {
    "policy_set": Column(
        "string", "first: the project's policies; second: the set beside them"
    ),
    "policies": Column("string", "hash of the text of that set"),
}

COUNTERFACTUAL_FORMATS = (
    Format(
        name="counterfactual-sft",
        trainer="TRL, SFTTrainer",
        rows="counterfactual_sft",
        columns={
            "messages": Column(
                "messages",
                "the policies as system message, the prompt's turns, and the assistant turn with "
                "its reasoning",
            ),
            "thinking": Column("string", "the chain of thought alone"),
            "response": Column("string", "the response alone"),
            **_SET,
            **LINEAGE,
        },
        convert=counterfactual_sft,
        has_field=True,
    ),
    Format(
        name="counterfactual-dpo",
        trainer="TRL, DPOTrainer",
        rows="counterfactual_dpo",
        columns={
            "prompt": _QUESTION,
            "chosen": Column(
                "messages", "the answer under these policies, with its reasoning"
            ),
            "rejected": Column(
                "messages",
                "the answer under the other set, which is wrong here, with its reasoning",
            ),
            **_SET,
            **LINEAGE,
        },
        convert=counterfactual_dpo,
        has_field=True,
    ),
)
