"""Single-LLM CoTs: the baseline that deliberation is compared with.

AIDSAFE, baseline: one call per prompt, with the same model and the same policies. The baseline is
for measuring only and never becomes training data.
"""

from dataclasses import dataclass

from aidsafe_dagster.recipe.answers import AnswerFormat, InitializerAnswer
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Prompt, Role, SingleLlmCot, Stage
from aidsafe_dagster.recipe.seed_cots import join_thoughts, number_thoughts


@dataclass(frozen=True)
class SingleLlmInputs:
    prompt: Prompt
    policies: Policies
    applicable: tuple[str, ...]


def answer_directly(
    conversation: Conversation, prompt: Prompt
) -> Dialogue[SingleLlmCot]:
    """Write a CoT and a response in one call.

    Without intents, the policies that apply follow from the category of the source alone.
    """
    context = conversation.context
    applicable = context.policies.applicable(prompt.category, ())
    task = context.templates.task(
        Stage.SINGLE_LLM_COTS,
        Role.SINGLE_LLM,
        prompt=context.templates.shown(prompt),
        applicable=applicable,
    )
    answer_format = AnswerFormat(
        InitializerAnswer, {"rules": context.policies.rule_ids}, {}
    )
    inputs = SingleLlmInputs(prompt, context.policies, applicable)
    answer = yield from conversation.ask(Role.SINGLE_LLM, task, answer_format, inputs)
    thoughts = number_thoughts(answer.thoughts, after=0, agent="single_llm", round_=0)
    return SingleLlmCot(
        **prompt.model_dump(),
        **conversation.provenance(),
        intents=(),
        applicable_policies=applicable,
        thoughts=thoughts,
        response=answer.response,
        conversation=conversation.messages,
        cot_tokens=context.count_tokens(join_thoughts(thoughts)),
    )
