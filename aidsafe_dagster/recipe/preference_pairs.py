"""Preference pairs: chosen is the refined CoT; rejected is what the target said under the belief that misled it most.

A pair carries both sides' scores and their margin; one whose margin is too small, or whose sides read alike, is counted
and left out. On a share of the rows the target also answers twice without any belief: the margins of such plain
sampling are what the paper found too small to learn from.
"""

import hashlib
from collections.abc import Sequence
from difflib import SequenceMatcher

from pydantic import Field

from aidsafe_dagster.recipe.beliefs import (
    BeliefSearch,
    BeliefSettings,
    MisledAnswer,
    ask_target,
    chosen_scores,
    is_done,
    mean_score,
    scored,
    try_candidates,
)
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.records import (
    BeliefExample,
    BeliefScore,
    FailureReason,
    Grade,
    PreferencePair,
    Prompt,
    Stage,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

_PLAIN_ANSWERS = 2


class PairSettings(BeliefSettings):
    max_similarity: float = Field(default=0.9, ge=0, le=1)
    """Pairs more alike than this are left out (0 to 1, share of words in common, in order)."""
    min_margin: float = Field(default=0.5, ge=0, le=4)
    """Pairs whose chosen side scores less than this above the rejected one are left out (policy score, 1 to 5)."""
    over_refusal_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the benign and borderline prompts whose rejected side refuses needlessly."""
    plain_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the rows on which plain sampling of two answers is measured too: two answers and two grades each."""


def run_iteration(
    search: BeliefSearch,
    iteration: int,
    examples: Sequence[BeliefExample],
    settings: PairSettings,
    grading: GradingSettings,
) -> Dialogue[BeliefSearch | PreferencePair]:
    """One iteration on one prompt; then the pair, if no further iteration is due, else the search to go on with.

    Raises:
        RowFailed: there is no pair; see `build_pair`.
    """
    yield from try_candidates(search, iteration, examples, settings, grading)
    if iteration < settings.iterations and not is_done(search, settings):
        return search
    return (yield from build_pair(search, settings, grading))


def plain_sampling_calls(
    search: BeliefSearch, settings: PairSettings, grading: GradingSettings
) -> int:
    """Calls of plain sampling on this row, about; 0 where it is not due."""
    return _PLAIN_ANSWERS * (1 + len(grading.roles)) if _is_sampled(search, settings) else 0


def build_pair(
    search: BeliefSearch, settings: PairSettings, grading: GradingSettings
) -> Dialogue[PreferencePair]:
    """The pair of the worst that the target said; then plain sampling, where it is due.

    Raises:
        RowFailed: no belief got a valid answer, the two sides do not differ enough, or the chosen one refuses.
    """
    if search.worst is None:
        assert search.failed is not None
        raise search.failed
    chosen = yield from chosen_scores(search, settings)
    why = _left_out(search, search.worst, mean_score(chosen), settings)
    plain = () if why else (yield from _plain(search, settings, grading))
    search.conversation.redraw_from = (
        0  # if the pair must not pass, a later run looks for other beliefs from the start
    )
    if why:
        raise why
    return _record(search, search.worst, chosen, plain)


def _left_out(
    search: BeliefSearch, worst: MisledAnswer, chosen_score: float, settings: PairSettings
) -> RowFailed | None:
    alike = _alike(search, worst)
    if search.kind == "needless_refusal" and _refuses(search.grades.grades):
        said = search.refined.response[:120]
        return RowFailed(FailureReason.CHOSEN_REFUSES, f"a judge finds that it declines: {said!r}")
    if alike > settings.max_similarity:
        return RowFailed(FailureReason.NO_CONTRAST, f"chosen and rejected are alike: {alike:.2f}")
    if chosen_score - worst.score < settings.min_margin:
        scores = f"{chosen_score:.2f} against {worst.score:.2f}"
        return RowFailed(
            FailureReason.MARGIN_TOO_SMALL, f"{scores}, {settings.min_margin:g} is due"
        )
    return None


def _refuses(grades: tuple[Grade, ...]) -> bool:
    return any(grade.refusal == "full" for grade in grades if grade.version == "refined")


def _alike(search: BeliefSearch, worst: MisledAnswer) -> float:
    refined = search.refined
    return similarity(
        f"{join_thoughts(refined.thoughts)}\n{refined.response}", f"{worst.cot}\n{worst.response}"
    )


def similarity(one: str, other: str) -> float:
    """0 to 1: the share of words that two texts have in common, in order; case and white space do not count."""
    return SequenceMatcher(
        None, one.casefold().split(), other.casefold().split(), autojunk=False
    ).ratio()


def _plain(
    search: BeliefSearch, settings: PairSettings, grading: GradingSettings
) -> Dialogue[tuple[float, ...]]:
    """Policy scores of two answers without a belief; none when the row is not in the sample or an answer is invalid."""
    if not _is_sampled(search, settings):
        return ()
    scores = []
    for _ in range(_PLAIN_ANSWERS):
        try:
            answer = yield from ask_target(search, "")
            subject = Subject("plain", tuple(answer.thoughts), answer.response)
            scores.append(mean_score((yield from scored(search, subject, settings, grading))))
        except RowFailed:
            return ()
    return tuple(scores)


def _is_sampled(search: BeliefSearch, settings: PairSettings) -> bool:
    digest = hashlib.blake2b(f"plain:{search.refined.prompt_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < settings.plain_share


def _record(
    search: BeliefSearch,
    worst: MisledAnswer,
    chosen: tuple[BeliefScore, ...],
    plain: tuple[float, ...],
) -> PreferencePair:
    refined, grades, conversation = search.refined, search.grades, search.conversation
    chosen_score = mean_score(chosen)
    return PreferencePair(
        **refined.model_dump(include=set(Prompt.model_fields)),
        **conversation.context.made(Stage.PREFERENCE_PAIRS, conversation),
        kind=search.kind,
        prompt_kind=grades.prompt_kind,
        belief=worst.belief,
        chosen_cot=join_thoughts(refined.thoughts),
        chosen_response=refined.response,
        rejected_cot=worst.cot,
        rejected_response=worst.response,
        similarity=round(_alike(search, worst), 4),
        chosen_cot_tokens=refined.cot_tokens,
        rejected_cot_tokens=conversation.context.count_tokens(worst.cot),
        chosen_score=chosen_score,
        rejected_score=worst.score,
        margin=round(chosen_score - worst.score, 4),
        chosen_scores=chosen,
        rejected_scores=worst.scores,
        candidates=tuple(search.candidates),
        examples=tuple(search.examples),
        plain_scores=plain,
    )
