"""Preference pairs: an ear-whisperer makes up a bad belief; the target model, misled by it, gives the rejected CoT.

AIDSAFE, belief augmentation: belief + prompt → the target's violating CoT = rejected; the refined CoT = chosen. This is
one belief a prompt, not yet the iterated search for the worst one. A pair whose sides do not differ shows that the
whisperer did nothing: it is counted and left out.
"""

from dataclasses import dataclass
from difflib import SequenceMatcher

from pydantic import Field

from aidsafe_dagster.recipe.answers import AnswerFormat, EarWhispererAnswer, TargetAnswer
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import FailureReason, PreferencePair, Prompt, Record, RefinedCot, Role, Stage
from aidsafe_dagster.recipe.seed_cots import cot_text


class PairSettings(Record):
    max_similarity: float = Field(default=0.9, ge=0, le=1)
    """Pairs more alike than this are left out (0 to 1, share of words in common, in order)."""


@dataclass(frozen=True)
class EarWhispererInputs:
    prompt: Prompt
    policies: Policies
    refined: RefinedCot


@dataclass(frozen=True)
class TargetInputs:
    prompt: Prompt
    policies: Policies
    refined: RefinedCot
    belief: str


def whisper(conversation: Conversation, refined: RefinedCot, settings: PairSettings) -> Dialogue[PreferencePair]:
    """Belief, then the target's answer under it: two calls.

    Raises:
        RowFailed: the two sides do not differ.
    """
    brief = conversation.brief
    whispered = yield from conversation.ask(
        Role.EAR_WHISPERER,
        brief.templates.task(
            Stage.PREFERENCE_PAIRS,
            Role.EAR_WHISPERER,
            prompt=refined.prompt,
            thoughts=refined.thoughts,
            response=refined.response,
        ),
        AnswerFormat(EarWhispererAnswer, {}, {}),
        EarWhispererInputs(refined, brief.policies, refined),
    )
    conversation.messages = ()  # the target hears the belief and the prompt, and nothing of how they came about
    misled = yield from conversation.ask(
        Role.TARGET,
        brief.templates.task(Stage.PREFERENCE_PAIRS, Role.TARGET, prompt=refined.prompt, belief=whispered.belief),
        AnswerFormat(TargetAnswer, {}, {}),
        TargetInputs(refined, brief.policies, refined, whispered.belief),
    )
    chosen, rejected = cot_text(refined.thoughts), "\n\n".join(thought.strip() for thought in misled.thoughts)
    alike = similarity(f"{chosen}\n{refined.response}", f"{rejected}\n{misled.response}")
    if alike > settings.max_similarity:
        raise RowFailed(FailureReason.NO_CONTRAST, f"chosen and rejected are alike: {alike:.2f}")
    return PreferencePair(
        **refined.model_dump(include=set(Prompt.model_fields)),
        **brief.made(Stage.PREFERENCE_PAIRS, conversation),
        belief=whispered.belief,
        chosen_cot=chosen,
        chosen_response=refined.response,
        rejected_cot=rejected,
        rejected_response=misled.response,
        similarity=round(alike, 4),
        chosen_cot_tokens=refined.cot_tokens,
        rejected_cot_tokens=brief.count_tokens(rejected),
    )


def similarity(one: str, other: str) -> float:
    """0 to 1: the share of words that two texts have in common, in order; case and white space do not count."""
    return SequenceMatcher(None, one.casefold().split(), other.casefold().split(), autojunk=False).ratio()
