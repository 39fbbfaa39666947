"""Preference pairs: the refined CoT against the target's answer under the most misleading belief.

A pair carries the scores of both sides and their margin. Rows whose sides are unfit for a pair
(`recipe/pair_floors.py`) or differ too little are counted and left out. On a share of the rows the
target also answers twice without a belief. The paper found the margins of such plain sampling too
small to learn from, and these rows measure them.
"""

from collections.abc import Sequence

from pydantic import Field

from aidsafe_dagster.recipe.beliefs import (
    BeliefSearch,
    BeliefSettings,
    Misled,
    ask_target,
    assess,
    is_done,
    known_chosen_score,
    mean_score,
    refined_grades,
    score_chosen,
    try_candidates,
)
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.pair_floors import (
    chosen_fault,
    length_ratio,
    similarity_of_sides,
)
from aidsafe_dagster.recipe.records import (
    BeliefExample,
    BeliefScore,
    FailureReason,
    PreferencePair,
    Prompt,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

# Two answers give a margin between them, which is what plain sampling has to offer as a pair.
_PLAIN_ANSWERS = 2


class PairSettings(BeliefSettings):
    min_margin: float = Field(default=0.5, ge=0, le=4)
    """Pairs with a smaller margin than this are left out (policy scores run from 1 to 5)."""
    over_refusal_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the benign and borderline prompts whose rejected side refuses needlessly."""
    plain_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the rows on which plain sampling is measured, at two answers and two grades each."""


def run_iteration(
    search: BeliefSearch,
    iteration: int,
    examples: Sequence[BeliefExample],
    settings: PairSettings,
    grading: GradingSettings,
) -> Dialogue[BeliefSearch | PreferencePair]:
    """Run one iteration on one prompt. Return the pair, or the search if it has to go on.

    Raises:
        RowFailed: there is no pair; see `build_pair`.
    """
    # No belief is worth a call where the other side is unfit.
    chosen_score = known_chosen_score(search, settings)
    if chosen_score is not None:
        _require_chosen(search, chosen_score, settings)
    yield from try_candidates(
        search,
        iteration,
        examples,
        settings,
        grading,
    )
    if iteration < settings.iterations and not is_done(search, settings):
        return search
    return (yield from build_pair(search, settings, grading))


def plain_sampling_calls(
    search: BeliefSearch, settings: PairSettings, grading: GradingSettings
) -> int:
    """Return about how many calls plain sampling takes on this row. It is 0 on most rows."""
    if not _is_sampled(search, settings):
        return 0
    calls_per_answer = 1 + len(grading.roles)
    return _PLAIN_ANSWERS * calls_per_answer


def build_pair(
    search: BeliefSearch, settings: PairSettings, grading: GradingSettings
) -> Dialogue[PreferencePair]:
    """Build the pair from the target's worst answer, then measure plain sampling on sampled rows.

    Raises:
        RowFailed: no belief got an answer that may be a rejected side, the chosen side is unfit, or
            the scores of the sides do not differ enough.
    """
    # If this pair fails, here or at a later check, the next run has to look for other beliefs.
    search.conversation.redraw_from = 0
    worst = search.worst
    if worst is None:
        raise search.failure()
    chosen = yield from score_chosen(search, settings)
    search.conversation.redraw_from = 0
    chosen_score = mean_score(chosen)
    _require_chosen(search, chosen_score, settings)
    if chosen_score - worst.score < settings.min_margin:
        scores = f"{chosen_score:.2f} against {worst.score:.2f}"
        detail = f"{scores}, {settings.min_margin:g} is due"
        raise RowFailed(FailureReason.MARGIN_TOO_SMALL, detail)
    # A row that is left out is not worth the calls.
    plain_scores = yield from _sample_plainly(search, settings, grading)
    search.conversation.redraw_from = 0
    return _record(search, worst, chosen, plain_scores)


def _require_chosen(search: BeliefSearch, score: float, settings: PairSettings) -> None:
    grades = refined_grades(search)
    fault = chosen_fault(search.refined, score, grades, search.kind, settings)
    if fault is not None:
        raise RowFailed(*fault)


def _sample_plainly(
    search: BeliefSearch, settings: PairSettings, grading: GradingSettings
) -> Dialogue[tuple[float, ...]]:
    """Return the policy scores of two answers without a belief.

    They are empty if the row is not in the sample, or if an answer is not valid.
    """
    if not _is_sampled(search, settings):
        return ()
    plain_scores = []
    for _ in range(_PLAIN_ANSWERS):
        try:
            answer = yield from ask_target(search, "", settings)
            subject = Subject("plain", answer.thoughts, answer.response)
            scores, _ = yield from assess(search, subject, settings, grading)
        except RowFailed:
            # Plain sampling is a measurement beside the pair, so it must not cost the pair.
            return ()
        plain_scores.append(mean_score(scores))
    return tuple(plain_scores)


def _is_sampled(search: BeliefSearch, settings: PairSettings) -> bool:
    return hash_fraction("plain", search.refined.prompt_id) < settings.plain_share


def _record(
    search: BeliefSearch,
    worst: Misled,
    chosen: tuple[BeliefScore, ...],
    plain_scores: tuple[float, ...],
) -> PreferencePair:
    refined, conversation = search.refined, search.conversation
    count_tokens = conversation.context.count_tokens
    chosen_score = mean_score(chosen)
    return PreferencePair(
        **refined.model_dump(include=set(Prompt.model_fields)),
        **conversation.provenance(),
        kind=search.kind,
        prompt_kind=search.grades.prompt_kind,
        belief=worst.belief,
        chosen_cot=join_thoughts(refined.thoughts),
        chosen_response=refined.response,
        rejected_cot=worst.answer.cot,
        rejected_response=worst.answer.response,
        similarity=round(similarity_of_sides(refined, worst.answer), 4),
        chosen_cot_tokens=refined.cot_tokens,
        rejected_cot_tokens=count_tokens(worst.answer.cot),
        length_ratio=length_ratio(worst.answer, refined, count_tokens),
        chosen_score=chosen_score,
        rejected_score=worst.score,
        margin=round(chosen_score - worst.score, 4),
        chosen_scores=chosen,
        rejected_scores=worst.scores,
        candidates=tuple(candidate.summary() for candidate in search.candidates),
        examples=tuple(search.examples),
        plain_scores=plain_scores,
    )
