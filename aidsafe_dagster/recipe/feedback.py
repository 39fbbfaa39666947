"""What the stages recorded about the answers to a prompt, for trainers that learn from feedback.

A prompt of the splits has several answers: the refined one, those that it was compared with, and
what the target said under each belief. The same judges graded all of them on the same scale
(AIDSAFE, auto-grader), so that one grade tells what is worth learning from each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aidsafe_dagster.recipe.format_types import CLOSE, OPEN
from aidsafe_dagster.recipe.judging import policy_score
from aidsafe_dagster.recipe.pair_floors import PairFloors
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import (
    CotGrades,
    DeliberatedCot,
    FailureReason,
    FineTuneRow,
    Grade,
    RefinedCot,
    SingleLlmCot,
    TriedBelief,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

Answer = tuple[str, str]
"""Chain of thought and response."""
AnswerSource = Literal["refined", "deliberated", "single_llm", "target"]
_RESISTED = (FailureReason.REJECTED_ABOVE_SCORE, FailureReason.REJECTED_ANSWERS)
"""Why an answer is no rejected side although nothing is wrong with it: the belief had no effect."""


@dataclass(frozen=True)
class PromptFeedback:
    """A prompt of the splits, with what the stages behind it recorded."""

    row: FineTuneRow
    """Its SFT row."""
    refined: RefinedCot
    deliberated: DeliberatedCot | None = None
    single_llm: SingleLlmCot | None = None
    grades: CotGrades | None = None
    tried: tuple[TriedBelief, ...] = ()
    """Every belief that was tried on the target; none behind a closed gate of the pairs."""
    translated: Mapping[Answer, Answer] | None = None
    """Of a translation: the answers of the original → the same in its language. The others have
    no translation, and are left out. None: it is an original."""


@dataclass(frozen=True)
class GradedAnswer:
    row: FineTuneRow
    """The SFT row of its prompt."""
    source: AnswerSource
    """`target`: said under a belief, which is not in the prompt that is trained on."""
    cot: str
    response: str
    grades: Sequence[Grade]
    """By judge; empty where a guard scored it."""
    score: float
    """Policy score, 1 to 5, mean of the judges."""
    is_desirable: bool | None
    """Whether it is good enough for a chosen side, or can be a rejected one. None: neither, and it
    teaches nothing clear."""


@dataclass(frozen=True)
class AnswerPair:
    row: FineTuneRow
    """The SFT row of its prompt."""
    chosen: GradedAnswer
    rejected: GradedAnswer


def graded_answers(
    feedback: PromptFeedback, floors: PairFloors
) -> Sequence[GradedAnswer]:
    """Return every answer that was graded and shows its thoughts, each text once."""
    answers: dict[Answer, GradedAnswer] = {}
    for answer in (*_versions(feedback, floors), *_of_the_target(feedback, floors)):
        # Where its reasoning ends could not be told of an answer that holds a think tag itself.
        if answer.cot and answer.response and not _has_think_tag(answer):
            answers.setdefault((answer.cot, answer.response), answer)
    if feedback.translated is None:
        return tuple(answers.values())
    return _in_translation(answers, feedback.translated)


def answer_pairs(
    feedback: PromptFeedback, settings: PairSettings
) -> Sequence[AnswerPair]:
    """Pair the best desirable answer with each that is to be avoided or clearly worse.

    Clearly worse is an answer of another version whose score is lower by `min_margin`.
    """
    answers = graded_answers(feedback, settings)
    desirable = [answer for answer in answers if answer.is_desirable]
    if not desirable:
        return ()
    # The first of equals is the refined one.
    best = max(desirable, key=lambda answer: answer.score)
    return tuple(
        AnswerPair(best.row, best, answer)
        for answer in answers
        if _is_worse(answer, best, settings)
    )


def _in_translation(
    answers: Mapping[Answer, GradedAnswer], translated: Mapping[Answer, Answer]
) -> Sequence[GradedAnswer]:
    """Return the answers that are translated, with the grades that their originals were given."""
    in_translation = []
    for original, answer in answers.items():
        if original in translated:
            cot, response = translated[original]
            in_translation.append(replace(answer, cot=cot, response=response))
    return tuple(in_translation)


def _is_worse(answer: GradedAnswer, best: GradedAnswer, settings: PairSettings) -> bool:
    if answer.is_desirable is False:
        return True
    # What keeps an answer of the target from either side is no matter of its score.
    if answer.source == "target" and answer.is_desirable is None:
        return False
    margin = best.score - answer.score
    return margin > 0 and margin >= settings.min_margin


def _versions(feedback: PromptFeedback, floors: PairFloors) -> Iterator[GradedAnswer]:
    versions: tuple[
        tuple[AnswerSource, RefinedCot | DeliberatedCot | SingleLlmCot | None], ...
    ] = (
        ("refined", feedback.refined),
        ("deliberated", feedback.deliberated),
        ("single_llm", feedback.single_llm),
    )
    grades = feedback.grades.grades if feedback.grades else ()
    for source, cot in versions:
        own = [grade for grade in grades if grade.version == source]
        if cot is None or not own:
            continue
        score = policy_score(own)
        yield GradedAnswer(
            row=feedback.row,
            source=source,
            cot=join_thoughts(cot.thoughts),
            response=cot.response,
            grades=own,
            score=score,
            is_desirable=_judge_version(feedback.row, own, score, floors),
        )


def _judge_version(
    row: FineTuneRow, grades: Sequence[Grade], score: float, floors: PairFloors
) -> bool | None:
    refuses = any(grade.refusal == "full" for grade in grades)
    if score >= floors.min_chosen_score:
        # Faithful and unhelpful: a benign request is not to be declined.
        return None if refuses and row.prompt_kind == "benign" else True
    return False if score <= floors.max_rejected_score else None


def _of_the_target(
    feedback: PromptFeedback, floors: PairFloors
) -> Iterator[GradedAnswer]:
    for tried in feedback.tried:
        if tried.score is None:
            continue
        yield GradedAnswer(
            row=feedback.row,
            source="target",
            cot=tried.cot,
            response=tried.response,
            grades=tried.grades,
            score=tried.score,
            is_desirable=_judge_tried(tried, tried.score, floors),
        )


def _judge_tried(tried: TriedBelief, score: float, floors: PairFloors) -> bool | None:
    if not tried.left_out:
        return False
    if tried.left_out in _RESISTED and score >= floors.min_chosen_score:
        return True
    return None


def _has_think_tag(answer: GradedAnswer) -> bool:
    text = answer.cot + answer.response
    return OPEN in text or CLOSE in text
