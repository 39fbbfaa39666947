"""The ear-whisperer and the target: a false belief, and what a target that holds it says.

The misled answer is bad reasoning and contains nothing that a person could use to do harm. The
target answers in its own way: with a block of reasoning, or with thoughts before its answer.
"""

from aidsafe_dagster.engines.rehearsal.dice import fraction
from aidsafe_dagster.engines.rehearsal.faults import Fault
from aidsafe_dagster.engines.rehearsal.phrasebook import begins_with, openings, phrases
from aidsafe_dagster.engines.rehearsal.planted import Reply
from aidsafe_dagster.engines.rehearsal.speaker import Speaker
from aidsafe_dagster.recipe.answers import Answer, EarWhispererAnswer
from aidsafe_dagster.recipe.beliefs import EarWhispererInputs, TargetInputs
from aidsafe_dagster.recipe.pair_floors import PairKind
from aidsafe_dagster.recipe.records import RefinedCot

STRENGTHS = range(4)
_BOUNDS = (0.12, 0.55, 1.0)
"""Where the strengths 1, 2 and 3 begin."""
_GAIN_BY_TRYING = 0.2
_GAIN_BY_EXAMPLE = 0.12
_MOST_EXAMPLES = 3
_BLOCK_SHARE = 0.5
"""How many answers have their thoughts in a block of reasoning; those of others are plain."""


class SpokenAnswer(Answer):
    """What the target thinks and says, before it is put into words."""

    thoughts: list[str]
    response: str


def whisper_belief(speaker: Speaker, inputs: EarWhispererInputs) -> Reply:
    """Write a belief, stronger with every belief tried and every example shown."""
    tried = len(inputs.tried)
    examples = min(len(inputs.examples), _MOST_EXAMPLES)
    # A whisperer learns from what was tried, so later iterations have stronger beliefs.
    skill = speaker.call_dice.roll("strength")
    skill += _GAIN_BY_TRYING * tried + _GAIN_BY_EXAMPLE * examples
    strength = sum(skill >= bound for bound in _BOUNDS)
    flavour = _flavour(speaker, inputs.kind)
    clauses = phrases(f"clauses.{flavour}")
    # The dice of the prompt: no two candidates of a prompt have the same clause.
    first = int(speaker.prompt_dice.roll("clause") * len(clauses))
    index = (first + tried) % len(clauses)
    clause = clauses[index]
    fields = _policy_set_aside(speaker, inputs.refined)
    # The target knows how strong a belief is by its opening.
    opening = phrases("openings")[strength]
    belief = opening + speaker.fill(clause, **fields)
    return Reply(EarWhispererAnswer(belief=belief))


def answer_under_belief(speaker: Speaker, inputs: TargetInputs) -> Reply:
    """Answer as misled as the belief is strong, soberly without a belief."""
    belief = inputs.belief.strip()
    if not belief:
        return Reply(_sober_answer(speaker))
    # The dice of the prompt: what is planted holds for every belief that is tried.
    rates = speaker.rates((Fault.WHISPER_FAILS, Fault.STUBBORN))
    fault = speaker.prompt_dice.choose(rates, "target", speaker.draw)
    if fault is Fault.WHISPER_FAILS:
        thoughts = [thought.text for thought in inputs.refined.thoughts]
        answer = SpokenAnswer(thoughts=thoughts, response=inputs.refined.response)
        return Reply(answer, (fault,))
    if fault is Fault.STUBBORN:
        return Reply(_sober_answer(speaker), (fault,))
    strength = belief_strength(belief)
    if strength == 0:
        return Reply(_sober_answer(speaker))
    return Reply(_misled_answer(speaker, inputs, strength))


def spoken_text(speaker: Speaker, answer: SpokenAnswer) -> str:
    """Return a target's answer as it says it."""
    thoughts = "\n\n".join(answer.thoughts)
    if speaker.call_dice.hits(_BLOCK_SHARE, "block"):
        return f"<think>\n{thoughts}\n</think>\n\n{answer.response}"
    return f"{thoughts}\n\nAnswer:\n{answer.response}"


def unfinished_text(answer: SpokenAnswer) -> str:
    """Return the thoughts of a target that comes to no answer."""
    return "<think>\n" + "\n\n".join(answer.thoughts)


def belief_strength(belief: str) -> int:
    """Return 0 to 3, by the opening of a belief; at random for one in other words."""
    for strength, opening in enumerate(openings("openings")):
        if belief.startswith(opening):
            return strength
    return int(fraction("strength", belief) * len(STRENGTHS))


def misled_strength(response: str) -> int:
    """Return how far a belief misled the target, 0 to 3, by the opening of its response."""
    for strength in STRENGTHS[1:]:
        if begins_with(response, f"misled.{strength}"):
            return strength
    return 0


def _misled_answer(
    speaker: Speaker, inputs: TargetInputs, strength: int
) -> SpokenAnswer:
    flavour = _flavour(speaker, inputs.kind)
    fields = _policy_set_aside(speaker, inputs.refined)
    thoughts = [speaker.say_by_stance("seeds.reading")]
    # One bad thought for each degree of strength.
    for phrase in phrases(f"misled_thoughts.{flavour}")[:strength]:
        thought = speaker.fill(phrase, **fields)
        thoughts.append(thought)
    response = speaker.say(f"misled.{strength}.{flavour}", **fields)
    return SpokenAnswer(thoughts=thoughts, response=response)


def _sober_answer(speaker: Speaker) -> SpokenAnswer:
    names = ("seeds.reading", "plain.weigh", "plain.close")
    thoughts = [speaker.say_by_stance(name) for name in names]
    response = speaker.say_by_stance("seeds.response")
    response += speaker.say_by_stance("plain.after")
    return SpokenAnswer(thoughts=thoughts, response=response)


def _flavour(speaker: Speaker, kind: PairKind) -> str:
    if kind == "violation":
        return f"{kind}.{speaker.stance}"
    # Only what may be answered can be refused needlessly.
    return f"{kind}.help"


def _policy_set_aside(speaker: Speaker, refined: RefinedCot) -> dict[str, str]:
    """Return the fields of the policy that the belief sets aside."""
    applicable = refined.applicable_policies or speaker.policies.ids
    limits = [
        policy_id for policy_id in applicable if not speaker.is_always_due(policy_id)
    ]
    # The dice of the prompt: the belief and the answer to it have to name the same policy.
    policy_id = speaker.prompt_dice.pick(limits or applicable, "set aside")
    return speaker.cite(speaker.best_rule(policy_id))
