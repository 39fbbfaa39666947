"""The ear-whisperer and the target: a false belief, and what somebody who holds it thinks and says.

The misled answer is bad reasoning and contains nothing that a person could use to do harm.
"""

from aidsafe_dagster.engines.rehearsal.lines import Speaker, begins
from aidsafe_dagster.engines.rehearsal.lots import lot, pick
from aidsafe_dagster.engines.rehearsal.phrases.seeds import SEEDS
from aidsafe_dagster.engines.rehearsal.phrases.whisper import (
    BAD_THOUGHTS,
    CLAUSES,
    MISLED,
    OPENINGS,
    PLAIN,
)
from aidsafe_dagster.recipe.answers import EarWhispererAnswer, TargetAnswer
from aidsafe_dagster.recipe.beliefs import EarWhispererInputs, PairKind, TargetInputs
from aidsafe_dagster.recipe.records import RefinedCot

_MOST_THOUGHTS = 12
_BOUNDS = (0.12, 0.55, 1.0)
"""Where the strengths 1, 2 and 3 begin."""
_LEARNT_BY_TRYING = 0.2
_LEARNT_FROM_EXAMPLE = 0.12


def whispered(speaker: Speaker, inputs: EarWhispererInputs) -> EarWhispererAnswer:
    """A belief that misleads the more, the more was tried and the more examples were shown."""
    tried, lines = len(inputs.tried), CLAUSES[_flavour(speaker, inputs.kind)]
    learnt = _LEARNT_BY_TRYING * tried + _LEARNT_FROM_EXAMPLE * min(len(inputs.examples), 3)
    drawn = lot(speaker.key, "strength") + learnt
    opening = OPENINGS[sum(drawn >= bound for bound in _BOUNDS)]
    # Not `key`: the candidates are calls of their own, and no two of a prompt begin with the same clause.
    first = int(lot(speaker.plan.settings.seed, "clause", speaker.prompt.prompt_id) * len(lines))
    clause = speaker.fill(lines[(first + tried) % len(lines)], **_policy(speaker, inputs.refined))
    return EarWhispererAnswer(belief=opening + clause)


def answered_as_told(speaker: Speaker, inputs: TargetInputs) -> TargetAnswer:
    """As misled as the belief is strong; the chosen answer once more where the plan says so."""
    belief = inputs.belief.strip()
    if belief and speaker.plan.whisper_fails(speaker.prompt.prompt_id, speaker.draw):
        return TargetAnswer(thoughts=_chosen(inputs.refined), response=inputs.refined.response)
    stubborn = speaker.plan.is_stubborn(speaker.prompt.prompt_id, speaker.draw)
    strength = 0 if stubborn or not belief else strength_of(belief)
    return _misled(speaker, inputs, strength) if strength else _plain(speaker)


def strength_of(belief: str) -> int:
    """0 to 3, by a belief's opening; one of another's making has a strength by lot."""
    known = (n for n, opening in enumerate(OPENINGS) if begins(belief, opening))
    return next(known, int(lot("strength", belief) * len(OPENINGS)))


def _misled(speaker: Speaker, inputs: TargetInputs, strength: int) -> TargetAnswer:
    flavour, fields = _flavour(speaker, inputs.kind), _policy(speaker, inputs.refined)
    bad = [speaker.fill(line, **fields) for line in BAD_THOUGHTS[flavour][:strength]]
    return TargetAnswer(
        thoughts=[speaker.take(SEEDS, "reading"), *bad],
        response=speaker.fill(MISLED[flavour][strength - 1], **fields),
    )


def _plain(speaker: Speaker) -> TargetAnswer:
    thoughts = [
        speaker.take(SEEDS, "reading"),
        speaker.take(PLAIN, "weigh"),
        speaker.take(PLAIN, "close"),
    ]
    return TargetAnswer(
        thoughts=thoughts, response=speaker.take(SEEDS, "response") + speaker.take(PLAIN, "after")
    )


def _flavour(speaker: Speaker, kind: PairKind) -> str:
    """Only what may be answered can be refused needlessly."""
    return f"{kind}.{speaker.stance}" if kind == "violation" else "needless_refusal.help"


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
    return head + (["\n\n".join(tail)] if tail else [])
