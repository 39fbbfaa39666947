"""CoT grades: what judges say of the refined CoT, and how it fares against the deliberated and the single-LLM one.

AIDSAFE, evaluation: six scores by an auto-grader, and pairwise preference by two graders. Answers that do not parse are
counted and never scored.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from pydantic import Field

from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
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
    Prompt,
    Record,
    RefinedCot,
    Role,
    SingleLlmCot,
    Stage,
    Ungraded,
    Version,
)

_COMPARED: tuple[tuple[Version, Version], ...] = (
    ("refined", "single_llm"),
    ("refined", "deliberated"),
)


class GradingSettings(Record):
    judges: int = Field(default=1, ge=1, le=2)
    """1: the role `judge`; 2: `second_judge` as well."""
    compared: float = Field(default=1.0, ge=0, le=1)
    """Share of the rows whose baseline and deliberated CoT are graded and compared too; of the others, the refined
    CoT alone is graded."""
    temperature: float = Field(default=0.0, ge=0)

    @property
    def roles(self) -> tuple[Role, ...]:
        return JUDGES[: self.judges]


@dataclass(frozen=True)
class Versions:
    """The chains of thought on one prompt; what was not made is None."""

    refined: RefinedCot
    deliberated: DeliberatedCot | None = None
    single_llm: SingleLlmCot | None = None


@dataclass
class _Marks:
    """What the judges have said so far."""

    grades: list[Grade] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    ungraded: list[Ungraded] = field(default_factory=list)


def subject_of(version: Version, row: RefinedCot | DeliberatedCot | SingleLlmCot) -> Subject:
    return Subject(version, tuple(thought.text for thought in row.thoughts), row.response, row)


def grade_versions(
    conversation: Conversation, versions: Versions, settings: GradingSettings
) -> Dialogue[CotGrades]:
    """A grade per judge and version, then the comparisons in both orders.

    Raises:
        RowFailed: no judge gave the refined CoT a valid grade.
    """
    subjects = _subjects(versions, settings)
    marks = _Marks()
    for judge, subject in product(settings.roles, subjects.values()):
        yield from _graded(conversation, judge, subject, settings, marks)
    for judge, (one, other) in product(settings.roles, _COMPARED):
        if one in subjects and other in subjects:
            yield from _compared(
                conversation, judge, subjects[one], subjects[other], settings, marks
            )
    return _record(conversation, versions.refined, marks)


def _subjects(versions: Versions, settings: GradingSettings) -> dict[Version, Subject]:
    subjects: dict[Version, Subject] = {"refined": subject_of("refined", versions.refined)}
    if is_compared(versions.refined.prompt_id, settings.compared):
        if versions.deliberated:
            subjects["deliberated"] = subject_of("deliberated", versions.deliberated)
        if versions.single_llm:
            subjects["single_llm"] = subject_of("single_llm", versions.single_llm)
    return subjects


def is_compared(prompt_id: str, share: float) -> bool:
    """True for about a `share` of all prompts; the same ones every time."""
    digest = hashlib.blake2b(f"compared:{prompt_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < share


def _graded(
    conversation: Conversation,
    judge: Role,
    subject: Subject,
    settings: GradingSettings,
    marks: _Marks,
) -> Dialogue[None]:
    try:
        answer = yield from grade(conversation, judge, subject, settings.temperature)
    except RowFailed as failed:
        marks.ungraded.append(
            Ungraded(judge=judge, task=f"grade {subject.version}", detail=failed.detail)
        )
    else:
        version: Version = subject.version  # type: ignore[assignment]
        marks.grades.append(to_grade(answer, version, judge, conversation.models[-1]))


def _compared(
    conversation: Conversation,
    judge: Role,
    one: Subject,
    other: Subject,
    settings: GradingSettings,
    marks: _Marks,
) -> Dialogue[None]:
    try:
        marks.comparisons.append(
            (yield from compare(conversation, judge, one, other, settings.temperature))
        )
    except RowFailed as failed:
        task = f"compare {one.version} with {other.version}"
        marks.ungraded.append(Ungraded(judge=judge, task=task, detail=failed.detail))


def _record(conversation: Conversation, refined: RefinedCot, marks: _Marks) -> CotGrades:
    context = conversation.context
    of_refined: Sequence[Grade] = [grade for grade in marks.grades if grade.version == "refined"]
    if not of_refined:
        conversation.redraw_from = 0
        raise RowFailed(
            FailureReason.NOT_GRADED, "; ".join(f"{u.judge}: {u.detail}" for u in marks.ungraded)
        )
    return CotGrades(
        **refined.model_dump(include=set(Prompt.model_fields)),
        **context.made(Stage.COT_GRADES, conversation),
        prompt_kind=classify_prompt(refined, context.policies),
        grades=tuple(marks.grades),
        comparisons=tuple(marks.comparisons),
        ungraded=tuple(marks.ungraded),
        policy_score=policy_score(of_refined),
    )
