"""The ear-whisperer and the target: a false belief, and what somebody who holds it thinks and says.

The misled answer is bad reasoning and contains nothing that a person could use to do harm.
"""

from aidsafe_dagster.engines.rehearsal.lines import Speaker
from aidsafe_dagster.engines.rehearsal.lots import pick
from aidsafe_dagster.engines.rehearsal.phrases.whisper import WHISPERED
from aidsafe_dagster.recipe.answers import EarWhispererAnswer, TargetAnswer
from aidsafe_dagster.recipe.preference_pairs import TargetInputs
from aidsafe_dagster.recipe.records import RefinedCot

_MOST_THOUGHTS = 16
_LONGEST_THOUGHT = 2400


def whispered(speaker: Speaker, refined: RefinedCot) -> EarWhispererAnswer:
    return EarWhispererAnswer(belief=speaker.take(WHISPERED, "belief", 0, **_policy(speaker, refined)))


def misled(speaker: Speaker, inputs: TargetInputs) -> TargetAnswer:
    """The chosen answer once more if the belief fails to mislead, or if there is none."""
    refined = inputs.refined
    if not inputs.belief.strip() or speaker.plan.whisper_fails(speaker.prompt.prompt_id, speaker.draw):
        return TargetAnswer(thoughts=_chosen(refined), response=refined.response)
    fields = _policy(speaker, refined)
    phrases = WHISPERED[f"target.{speaker.stance}"]
    thoughts = [p.format(gist=speaker.reading.gist, topic=speaker.reading.topic, **fields) for p in phrases]
    return TargetAnswer(thoughts=thoughts, response=speaker.take(WHISPERED, "misled"))


def _policy(speaker: Speaker, refined: RefinedCot) -> dict[str, str]:
    """The policy that the belief sets aside."""
    relevant = [i for i in refined.applicable_policies if speaker.by_id[i].applies != "always"]
    # Not `key`: the belief and the answer to it are two calls and have to name the same policy.
    chosen = pick(
        relevant or refined.applicable_policies or speaker.policies.ids,
        speaker.plan.settings.seed,
        "set_aside",
        speaker.prompt.prompt_id,
    )
    return speaker.cites(speaker.rule_of(chosen))


def _chosen(refined: RefinedCot) -> list[str]:
    """The thoughts of the refined CoT, the last ones as one if there are more than an answer admits."""
    texts = [thought.text for thought in refined.thoughts]
    head, tail = texts[: _MOST_THOUGHTS - 1], texts[_MOST_THOUGHTS - 1 :]
    return head + (["\n\n".join(tail)[:_LONGEST_THOUGHT]] if tail else [])
