"""CoT grades: judges score the refined CoT and compare it with the deliberated and single-LLM ones.

AIDSAFE, evaluation: six scores by an auto-grader, and pairwise preferences by two graders. Answers
that do not parse are counted and never scored.
"""

from dataclasses import dataclass, field
from itertools import product

from pydantic import Field

from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.judging import (
    JUDGES,
    Subject,
    compare,
    grade,
    policy_score,
    to_grade,
)
from aidsafe_dagster.recipe.prompt_kinds import classify_prompt
from aidsafe_dagster.recipe.records import (
    Comparison,
    CotGrades,
    DeliberatedCot,
    FailureReason,
    Grade,
    Origin,
    Prompt,
    Record,
    RefinedCot,
    Role,
    SingleLlmCot,
    Ungraded,
    Version,
)

_COMPARED: tuple[tuple[Version, Version], ...] = (
    ("refined", "single_llm"),
    ("refined", "deliberated"),
)


class GradingSettings(Record):
    judges: int = Field(default=1, ge=1, le=2)
    """1: the role `judge`. 2: the role `second_judge` as well."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows that are graded, drawn by hash; benign twins always are.

    The others have no pair and no counterfactual, and no grade that could meet a floor of
    `score_gate`, so below 1 those floors have to be off.
    """
    compared: float = Field(default=1.0, ge=0, le=1)
    """Share of the graded rows on which the baseline and the deliberated CoT are graded and
    compared too.

    On the other rows, only the refined CoT is graded.
    """
    temperature: float = Field(default=0.0, ge=0)

    @property
    def roles(self) -> tuple[Role, ...]:
        return JUDGES[: self.judges]


@dataclass(frozen=True)
class Versions:
    """The chains of thought on one prompt. A version that does not exist is None."""

    refined: RefinedCot
    deliberated: DeliberatedCot | None = None
    single_llm: SingleLlmCot | None = None


@dataclass
class _Results:
    """The judges' answers so far."""

    grades: list[Grade] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    ungraded: list[Ungraded] = field(default_factory=list)

    def add_ungraded(self, judge: Role, task: str, failure: RowFailed) -> None:
        self.ungraded.append(Ungraded(judge=judge, task=task, detail=failure.detail))


def subject_of(
    version: Version, row: RefinedCot | DeliberatedCot | SingleLlmCot
) -> Subject:
    """Return a row's thoughts and response as a subject for judges."""
    # Only the texts: a judge must not see who wrote a thought, or which rules it claims.
    thoughts = tuple(thought.text for thought in row.thoughts)
    return Subject(version, thoughts, row.response, row)


def grade_versions(
    conversation: Conversation, versions: Versions, settings: GradingSettings
) -> Dialogue[CotGrades]:
    """Let each judge grade each version, then compare the versions in both orders.

    Raises:
        RowFailed: no judge gave the refined CoT a valid grade.
    """
    subjects = _subjects(versions, settings)
    results = _Results()
    for judge, subject in product(settings.roles, subjects.values()):
        yield from _grade(
            conversation,
            judge,
            subject,
            settings,
            results,
        )
    for judge, (one, other) in product(settings.roles, _COMPARED):
        # A version is missing where its stage failed the row, or outside the compared share.
        if one in subjects and other in subjects:
            yield from _compare(
                conversation,
                judge,
                subjects[one],
                subjects[other],
                settings,
                results,
            )
    return _record(conversation, versions.refined, results)


def _subjects(versions: Versions, settings: GradingSettings) -> dict[Version, Subject]:
    subjects: dict[Version, Subject] = {
        "refined": subject_of("refined", versions.refined)
    }
    if is_compared(versions.refined.prompt_id, settings.compared):
        if versions.deliberated:
            subjects["deliberated"] = subject_of("deliberated", versions.deliberated)
        if versions.single_llm:
            subjects["single_llm"] = subject_of("single_llm", versions.single_llm)
    return subjects


def why_not_graded(prompt: Origin, settings: GradingSettings) -> RowFailed | None:
    """Return why nobody grades a row, None if somebody does."""
    if is_graded(prompt.prompt_id, settings.share, is_twin=prompt.is_twin):
        return None
    detail = f"{settings.share:.0%} of the rows are graded"
    return RowFailed(FailureReason.NOT_DRAWN, detail, redraw=False)


def is_graded(prompt_id: str, share: float, *, is_twin: bool) -> bool:
    """Return True for about a `share` of all prompts, the same ones every time.

    And for each benign twin: that its response declines is known from its grade alone.
    """
    return is_twin or hash_fraction("graded", prompt_id) < share


def is_compared(prompt_id: str, share: float) -> bool:
    """Return True for about a `share` of all prompts, the same ones every time."""
    return hash_fraction("compared", prompt_id) < share


def _grade(
    conversation: Conversation,
    judge: Role,
    subject: Subject,
    settings: GradingSettings,
    results: _Results,
) -> Dialogue[None]:
    try:
        answer = yield from grade(conversation, judge, subject, settings.temperature)
    except RowFailed as failure:
        results.add_ungraded(judge, f"grade {subject.version}", failure)
    else:
        version: Version = subject.version  # type: ignore[assignment]
        results.grades.append(to_grade(answer, version, judge, conversation.models[-1]))


def _compare(
    conversation: Conversation,
    judge: Role,
    one: Subject,
    other: Subject,
    settings: GradingSettings,
    results: _Results,
) -> Dialogue[None]:
    try:
        comparison = yield from compare(
            conversation,
            judge,
            one,
            other,
            settings.temperature,
        )
    except RowFailed as failure:
        results.add_ungraded(
            judge, f"compare {one.version} with {other.version}", failure
        )
    else:
        results.comparisons.append(comparison)


def _record(
    conversation: Conversation, refined: RefinedCot, results: _Results
) -> CotGrades:
    refined_grades = [grade for grade in results.grades if grade.version == "refined"]
    # Grades of the other versions are for measuring. Pairs and splits need that of the refined CoT.
    if not refined_grades:
        # The latest task is a comparison, but a later run has to repeat the grades as well.
        conversation.redraw_from = 0
        details = "; ".join(f"{item.judge}: {item.detail}" for item in results.ungraded)
        raise RowFailed(FailureReason.NOT_GRADED, details)
    return CotGrades(
        **refined.model_dump(include=set(Prompt.model_fields)),
        **conversation.provenance(),
        prompt_kind=classify_prompt(refined, conversation.context.policies),
        grades=tuple(results.grades),
        comparisons=tuple(results.comparisons),
        ungraded=tuple(results.ungraded),
        policy_score=policy_score(refined_grades),
    )
