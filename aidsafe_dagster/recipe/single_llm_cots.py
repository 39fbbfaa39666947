"""Single-LLM CoTs: the baseline that deliberation is measured against.

AIDSAFE, baseline: one call per prompt, the same model, the same policies. No row of the dataset rests on it.
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


def answer_directly(conversation: Conversation, prompt: Prompt) -> Dialogue[SingleLlmCot]:
    """Prompt → CoT and response: one call. Policies apply by the source's category, since nobody names intents."""
    context = conversation.context
    applicable = context.policies.applicable(prompt.category, ())
    answer = yield from conversation.ask(
        Role.SINGLE_LLM,
        context.templates.task(
            Stage.SINGLE_LLM_COTS, Role.SINGLE_LLM, prompt=prompt.prompt, applicable=applicable
        ),
        AnswerFormat(InitializerAnswer, {"rules": context.policies.rule_ids}, {}),
        SingleLlmInputs(prompt, context.policies, applicable),
    )
    thoughts = number_thoughts(answer.thoughts, after=0, agent="single_llm", round_=0)
    return SingleLlmCot(
        **prompt.model_dump(),
        **context.made(Stage.SINGLE_LLM_COTS, conversation),
        intents=(),
        applicable_policies=applicable,
        thoughts=thoughts,
        response=answer.response,
        conversation=conversation.messages,
        cot_tokens=context.count_tokens(join_thoughts(thoughts)),
    )
