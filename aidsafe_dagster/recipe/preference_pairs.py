"""Preference pairs: the refined CoT against the target's answer under the most misleading belief.

A pair carries the scores of both sides and their margin. Pairs with too small a margin, or with
sides that read alike, are counted and left out. On a share of the rows the target also answers
twice without a belief. The paper found the margins of such plain sampling too small to learn from,
and these rows measure them.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher

from pydantic import Field

from aidsafe_dagster.recipe.beliefs import (
    BeliefSearch,
    BeliefSettings,
    MisledAnswer,
    ask_target,
    is_done,
    mean_score,
    score_chosen,
    score_subject,
    try_candidates,
)
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.records import (
    BeliefExample,
    BeliefScore,
    FailureReason,
    Grade,
    PreferencePair,
    Prompt,
    RefinedCot,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

# Two answers give a margin between them, which is what plain sampling has to offer as a pair.
_PLAIN_ANSWERS = 2


class PairSettings(BeliefSettings):
    max_similarity: float = Field(default=0.9, ge=0, le=1)
    """Pairs more alike than this are left out (0 to 1: share of words in common, in order)."""
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
        RowFailed: no belief got a valid answer, the sides do not differ enough, or the chosen side
            of a needless-refusal pair refuses too.
    """
    worst = search.worst
    if worst is None:
        assert search.failed is not None
        raise search.failed
    chosen = yield from score_chosen(search, settings)
    exclusion = _find_exclusion(search, worst, mean_score(chosen), settings)
    # A row that is left out anyway is not worth the calls.
    plain_scores: tuple[float, ...] = ()
    if exclusion is None:
        plain_scores = yield from _sample_plainly(search, settings, grading)
    # If this pair fails, here or at a later check, the next run has to look for other beliefs.
    search.conversation.redraw_from = 0
    if exclusion is not None:
        raise exclusion
    return _record(search, worst, chosen, plain_scores)


def _find_exclusion(
    search: BeliefSearch,
    worst: MisledAnswer,
    chosen_score: float,
    settings: PairSettings,
) -> RowFailed | None:
    """Return why the pair has to be left out, or None."""
    if search.kind == "needless_refusal" and _refuses(search.grades.grades):
        # The start of a response is enough to see whether the judge is right.
        response = search.refined.response[:120]
        detail = f"a judge finds that it declines: {response!r}"
        return RowFailed(FailureReason.CHOSEN_REFUSES, detail)
    alike = _similarity_of_sides(search.refined, worst)
    if alike > settings.max_similarity:
        detail = f"chosen and rejected are alike: {alike:.2f}"
        return RowFailed(FailureReason.NO_CONTRAST, detail)
    if chosen_score - worst.score < settings.min_margin:
        scores = f"{chosen_score:.2f} against {worst.score:.2f}"
        detail = f"{scores}, {settings.min_margin:g} is due"
        return RowFailed(FailureReason.MARGIN_TOO_SMALL, detail)
    return None


def _refuses(grades: tuple[Grade, ...]) -> bool:
    refined_grades = [grade for grade in grades if grade.version == "refined"]
    # One judge is enough: a pair that teaches to answer must not hold up a refusal.
    return any(grade.refusal == "full" for grade in refined_grades)


def _similarity_of_sides(refined: RefinedCot, worst: MisledAnswer) -> float:
    chosen = f"{join_thoughts(refined.thoughts)}\n{refined.response}"
    rejected = f"{worst.cot}\n{worst.response}"
    return similarity(chosen, rejected)


def similarity(one: str, other: str) -> float:
    """Return the share of words that two texts have in common, in order: 0 to 1.

    Case and white space do not count.
    """
    words = one.casefold().split()
    other_words = other.casefold().split()
    # Without autojunk=False, words that are frequent in a long text would not count as common.
    return SequenceMatcher(None, words, other_words, autojunk=False).ratio()


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
            answer = yield from ask_target(search, "")
            subject = Subject("plain", tuple(answer.thoughts), answer.response)
            scores = yield from score_subject(search, subject, settings, grading)
        except RowFailed:
            # Plain sampling is a measurement beside the pair, so it must not cost the pair.
            return ()
        plain_scores.append(mean_score(scores))
    return tuple(plain_scores)


def _is_sampled(search: BeliefSearch, settings: PairSettings) -> bool:
    return hash_fraction("plain", search.refined.prompt_id) < settings.plain_share


def _record(
    search: BeliefSearch,
    worst: MisledAnswer,
    chosen: tuple[BeliefScore, ...],
    plain_scores: tuple[float, ...],
) -> PreferencePair:
    refined, conversation = search.refined, search.conversation
    chosen_score = mean_score(chosen)
    return PreferencePair(
        **refined.model_dump(include=set(Prompt.model_fields)),
        **conversation.provenance(),
        kind=search.kind,
        prompt_kind=search.grades.prompt_kind,
        belief=worst.belief,
        chosen_cot=join_thoughts(refined.thoughts),
        chosen_response=refined.response,
        rejected_cot=worst.cot,
        rejected_response=worst.response,
        similarity=round(_similarity_of_sides(refined, worst), 4),
        chosen_cot_tokens=refined.cot_tokens,
        rejected_cot_tokens=conversation.context.count_tokens(worst.cot),
        chosen_score=chosen_score,
        rejected_score=worst.score,
        margin=round(chosen_score - worst.score, 4),
        chosen_scores=chosen,
        rejected_scores=worst.scores,
        candidates=tuple(search.candidates),
        examples=tuple(search.examples),
        plain_scores=plain_scores,
    )
