"""The floors of preference pairs: what an answer must show before it may become a side of a pair.

A pair teaches the difference between its sides. So the chosen side has to be faithful to the
policies, the rejected side has to do what the pair is about, and neither length nor words about the
belief may tell them apart.
"""

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from pydantic import Field

from aidsafe_dagster.recipe.belief_echo import belief_echo
from aidsafe_dagster.recipe.records import (
    FailureReason,
    Grade,
    Record,
    RefinedCot,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from aidsafe_dagster.recipe.target_answer import TargetAnswer
from aidsafe_dagster.recipe.unspaced import split_words

PairKind = Literal["violation", "needless_refusal"]
_EXCERPT_CHARS = 120


class PairFloors(Record):
    """What leaves a side out. Pairs of a batch are counted by the floor that left them out."""

    min_chosen_score: float = Field(default=4.0, ge=1, le=5)
    """Least policy score of the chosen side; 1 lets every one pass."""
    max_rejected_score: float = Field(default=3.0, ge=1, le=5)
    """Highest policy score of the rejected side of a violation pair; 5 lets every one pass."""
    check_refusals: bool = True
    """The rejected side of a violation pair must not refuse altogether, and that of a pair on
    needless refusal must refuse, at least in part, as the judges see it."""
    reject_belief_echoes: bool = True
    """Leave out answers that speak of the belief."""
    require_rejected_cot: bool = True
    """Leave out answers without thoughts. The trained model would learn not to think."""
    max_length_ratio: float = Field(default=10.0, ge=1)
    """Tokens of one side (CoT and response) divided by those of the other, either way."""
    max_similarity: float = Field(default=0.9, ge=0, le=1)
    """Pairs more alike than this are left out (0 to 1: share of words in common, in order)."""


class Fault(NamedTuple):
    reason: FailureReason
    detail: str


class Assessment(NamedTuple):
    """How an answer of the target was scored."""

    score: float
    """Policy score, 1 to 5, mean of the judges or of the guard."""
    grades: Sequence[Grade]
    """Empty where the guard scores."""


def rejected_fault(
    answer: TargetAnswer,
    assessment: Assessment,
    *,
    kind: PairKind,
    belief: str,
    refined: RefinedCot,
    floors: PairFloors,
    count_tokens: Callable[[str], int],
) -> Fault | None:
    """Return why an answer of the target can be no rejected side; None if it can."""
    fault = _fault_of_text(answer, belief, refined, floors)
    if fault is None:
        fault = _fault_of_grade(answer, assessment, kind, floors)
    if fault is None:
        ratio = length_ratio(answer, refined, count_tokens)
        fault = _fault_of_length(ratio, floors)
    return fault


def chosen_fault(
    refined: RefinedCot,
    score: float,
    grades: Sequence[Grade],
    kind: PairKind,
    floors: PairFloors,
) -> Fault | None:
    """Return why a refined CoT can be no chosen side; None if it can."""
    if kind == "needless_refusal" and _refuses(grades, "full"):
        # The start of a response is enough to see whether the judge is right.
        response = refined.response[:_EXCERPT_CHARS]
        detail = f"a judge finds that it declines: {response!r}"
        return Fault(FailureReason.CHOSEN_REFUSES, detail)
    if score < floors.min_chosen_score:
        detail = (
            f"the chosen side scores {score:.2f}; {floors.min_chosen_score:g} is due"
        )
        return Fault(FailureReason.CHOSEN_BELOW_SCORE, detail)
    return None


def length_ratio(
    answer: TargetAnswer, refined: RefinedCot, count_tokens: Callable[[str], int]
) -> float:
    """Return the tokens of the chosen CoT and response divided by those of the rejected ones."""
    chosen = refined.cot_tokens + count_tokens(refined.response)
    rejected = count_tokens(answer.cot) + count_tokens(answer.response)
    return round(chosen / max(rejected, 1), 4)


def similarity(one: str, other: str) -> float:
    """Return the share of words that two texts have in common, in order: 0 to 1.

    Case and white space do not count. Scripts without spaces are compared sign by sign.
    """
    return _matcher(one, other).ratio()


def similarity_of_sides(refined: RefinedCot, answer: TargetAnswer) -> float:
    return similarity(*_sides(refined, answer))


def _matcher(one: str, other: str) -> SequenceMatcher[str]:
    words = split_words(one.casefold())
    other_words = split_words(other.casefold())
    # Without autojunk=False, words that are frequent in a long text would not count as common.
    return SequenceMatcher(None, words, other_words, autojunk=False)


def _sides(refined: RefinedCot, answer: TargetAnswer) -> tuple[str, str]:
    """Return the texts of the chosen and of the rejected side."""
    chosen = f"{join_thoughts(refined.thoughts)}\n{refined.response}"
    return chosen, f"{answer.cot}\n{answer.response}"


def _fault_of_text(
    answer: TargetAnswer, belief: str, refined: RefinedCot, floors: PairFloors
) -> Fault | None:
    if floors.require_rejected_cot and not answer.cot:
        detail = f"it shows no thoughts: {answer.response[:_EXCERPT_CHARS]!r}"
        return Fault(FailureReason.NO_REJECTED_COT, detail)
    if floors.reject_belief_echoes:
        for part, text in (("CoT", answer.cot), ("response", answer.response)):
            echo = belief_echo(text, belief, refined.whole)
            if echo is not None:
                return Fault(FailureReason.ECHOES_BELIEF, f"{part}: {echo}")
    alike = _likeness_above(floors.max_similarity, refined, answer)
    if alike is not None:
        detail = f"chosen and rejected are alike: {alike:.2f}"
        return Fault(FailureReason.NO_CONTRAST, detail)
    return None


def _likeness_above(
    bound: float, refined: RefinedCot, answer: TargetAnswer
) -> float | None:
    """Return the similarity of the sides if it is above a bound."""
    if bound >= 1:
        return None
    matcher = _matcher(*_sides(refined, answer))
    # The words in any order are soon counted, and are as many or more. Sides are seldom alike.
    if matcher.quick_ratio() <= bound:
        return None
    alike = matcher.ratio()
    return alike if alike > bound else None


def _fault_of_grade(
    answer: TargetAnswer, assessment: Assessment, kind: PairKind, floors: PairFloors
) -> Fault | None:
    score, grades = assessment
    response = answer.response[:_EXCERPT_CHARS]
    if kind == "needless_refusal":
        if floors.check_refusals and not _all_refuse(grades):
            detail = f"a judge finds that it refuses nothing: {response!r}"
            return Fault(FailureReason.REJECTED_ANSWERS, detail)
        return None
    # A guard grades no refusals, but one violates nothing and so scores high.
    if floors.check_refusals and _refuses(grades, "full"):
        detail = f"a judge finds that it refuses: {response!r}"
        return Fault(FailureReason.REJECTED_REFUSES, detail)
    if score > floors.max_rejected_score:
        most = floors.max_rejected_score
        detail = f"the rejected side scores {score:.2f}; {most:g} is the most"
        return Fault(FailureReason.REJECTED_ABOVE_SCORE, detail)
    return None


def _fault_of_length(ratio: float, floors: PairFloors) -> Fault | None:
    most = floors.max_length_ratio
    if 1 / most <= ratio <= most:
        return None
    detail = f"chosen by rejected tokens: {ratio:.2f}; between {1 / most:.2f} and {most:g} is due"
    return Fault(FailureReason.LENGTHS_DIFFER, detail)


def _refuses(grades: Sequence[Grade], degree: str) -> bool:
    # One judge is enough: what any takes for a refusal must not be held up as none.
    return any(grade.refusal == degree for grade in grades)


def _all_refuse(grades: Sequence[Grade]) -> bool:
    return all(grade.refusal != "none" for grade in grades)
