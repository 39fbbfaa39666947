"""Benign twins: for a harmful prompt, a harmless one that looks like it.

A model that learns to refuse harmful prompts learns to refuse their look-alikes as well. A twin
serves a benign intent that the pipeline found behind the harmful words, and shares those words, so
that it is the meaning that has to be read. The writer and the judge are those of grown prompts.
"""

from dataclasses import dataclass

from aidsafe_dagster.recipe.answers import AnswerFormat
from aidsafe_dagster.recipe.bad_answers import BadText
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.grown_prompts import (
    GrownPromptsAnswer,
    WriterContext,
    describe_flaw,
    writer_conversation,
)
from aidsafe_dagster.recipe.passages import fold
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Prompt, Role
from aidsafe_dagster.recipe.templates import PROMPT_WORK


@dataclass(frozen=True)
class TwinInputs:
    prompt: Prompt
    """What stands for the twin: nobody has written it yet."""
    policies: Policies
    harmful: Prompt
    intent: str
    """Benign, behind the words of the harmful prompt."""


def twin_conversation(
    context: WriterContext, harmful: Prompt, intent: str
) -> Conversation:
    """Return the conversation in which a twin is written."""
    about = f"benign twin of {harmful.prompt_id} for: {intent}"
    return writer_conversation(context, about)


def write_twin(
    conversation: Conversation, harmful: Prompt, intent: str
) -> Dialogue[str]:
    """Write a prompt that serves a benign intent in the words of a harmful prompt: one call.

    Raises:
        RowFailed: no answer was a prompt of its own.
    """
    context = conversation.context
    task = context.templates.task(
        PROMPT_WORK, "twin", prompt=harmful.whole, intent=intent
    )

    def is_a_prompt_of_its_own(answer: GrownPromptsAnswer) -> None:
        (text,) = answer.prompts
        flaw = describe_flaw(text, context.templates, context.policies, context.bounds)
        if flaw:
            raise BadText(f"'prompts': {flaw}")
        if fold(text) in (fold(harmful.prompt), fold(harmful.whole)):
            raise BadText("'prompts': it is the harmful request itself")

    answer = yield from conversation.ask(
        Role.PROMPT_WRITER,
        task,
        AnswerFormat(GrownPromptsAnswer, {}, {"prompts": 1}),
        TwinInputs(conversation.prompt, context.policies, harmful, intent),
        check=is_a_prompt_of_its_own,
    )
    return answer.prompts[0].strip()
