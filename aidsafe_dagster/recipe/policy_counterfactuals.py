"""Policy counterfactuals: one prompt under two sets of policies whose right answers differ.

A model that is always trained under the same policies learns their answers and need not read them.
So a share of the prompts is answered under a second set as well, by the same recipe. A pair is kept
where each answer is right under its own set, and is wrong under the other one as the judges see it.
Then only the policies tell which answer is due.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from pydantic import Field, field_validator

from aidsafe_dagster.recipe.cot_grades import GradingSettings, subject_of
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueContext
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate, missed_floors
from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.judging import Subject, grade, policy_score, to_grade
from aidsafe_dagster.recipe.pair_floors import PairFloors
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import (
    CotGrades,
    FailureReason,
    Grade,
    Outcome,
    PolicyCounterfactual,
    PolicySet,
    Prompt,
    Record,
    RefinedCot,
    SingleLlmCot,
    Stage,
)
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import DELIBERATION_STYLES
from aidsafe_dagster.recipe.row_gate import (
    COT_CHECKS,
    REFINED_COT_CHECKS,
    CheckSettings,
    RowCheck,
    first_failure,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts, seed
from aidsafe_dagster.recipe.single_llm_cots import answer_directly

POLICY_SYSTEM = "policy_system"
"""The template of the system message that a trained model reads the policies in."""
_OTHER: Mapping[PolicySet, PolicySet] = {"first": "second", "second": "first"}
_SecondAnswer = RefinedCot | SingleLlmCot


class CounterfactualSettings(Record):
    policies: Path | None = None
    """A second set of policies: a folder like that of the setting `policies`, or one TOML file.
    Without it there are no counterfactuals."""
    use_policies: tuple[str, ...] = ()
    """Ids of the policies in that folder to use; empty: all."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Of the prompts on which the two sets differ, the share that is asked, drawn by hash."""
    writer: Literal["deliberation", "single_call"] = "deliberation"
    """Who answers under the second set: the whole recipe from intents to refiner, as under the
    first; or one model in one call, which costs a fraction and shows in the style."""

    @field_validator("policies", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        # TOML and environment variables cannot say None.
        return None if value == "" else value

    def within(self, folder: Path) -> "CounterfactualSettings":
        """Return a copy whose path is resolved against a folder."""
        if self.policies is None:
            return self
        return self.model_copy(update={"policies": folder / self.policies.expanduser()})


class ContrastSettings(Protocol):
    """The settings that a counterfactual depends on."""

    @property
    def counterfactuals(self) -> CounterfactualSettings: ...
    @property
    def deliberation(self) -> DeliberationSettings: ...
    @property
    def grading(self) -> GradingSettings: ...
    @property
    def pairs(self) -> PairFloors: ...
    @property
    def score_gate(self) -> ScoreGate: ...
    @property
    def checks(self) -> CheckSettings: ...


@dataclass(frozen=True)
class FirstAnswer:
    """What is there of a prompt under the first set."""

    refined: RefinedCot
    grades: CotGrades

    @property
    def prompt(self) -> Prompt:
        columns = set(Prompt.model_fields)
        return Prompt.model_validate(self.refined.model_dump(include=columns))

    @property
    def refined_grades(self) -> tuple[Grade, ...]:
        grades = self.grades.grades
        return tuple(grade for grade in grades if grade.version == "refined")


class Difference(NamedTuple):
    """Where two sets of policies differ on a prompt."""

    policies: tuple[str, ...]
    """Ids of the policies that say something else, or are in one set alone."""
    only_first: tuple[str, ...]
    """Title, purpose and rules that stand in the first set alone."""
    only_second: tuple[str, ...]


class _Judged(NamedTuple):
    """How an answer was graded under its own set and under the other one."""

    own: tuple[Grade, ...]
    under_other: tuple[Grade, ...]


def why_not_asked(
    context: DialogueContext, first: FirstAnswer, settings: ContrastSettings
) -> RowFailed | None:
    """Return why nobody is asked about a prompt, None if somebody is.

    What both sets agree on is told by the policies that bear on the prompt. That costs no call.
    """
    second = context.under_second_policies.policies
    difference = find_difference(context.policies, second, first.refined)
    if not difference.policies:
        detail = "both sets say the same on it"
        return RowFailed(FailureReason.SAME_POLICIES, detail, redraw=False)
    share = settings.counterfactuals.share
    position = hash_fraction(Stage.POLICY_COUNTERFACTUALS, first.refined.prompt_id)
    if position >= share:
        detail = f"{share:.0%} of the prompts on which the sets differ are asked"
        return RowFailed(FailureReason.NOT_DRAWN, detail, redraw=False)
    return None


def find_difference(
    first: Policies, second: Policies, refined: RefinedCot
) -> Difference:
    """Return where two sets differ on a prompt that was answered under the first one."""
    cited: dict[str, None] = {}
    for intent in refined.intents:
        cited |= dict.fromkeys(intent.policies)
    applicable = second.applicable(refined.category, tuple(cited))
    first_ids = refined.applicable_policies
    second_ids = (*applicable, *_may_concern(first, second, refined.category))
    before, now = _texts(first, first_ids), _texts(second, second_ids)
    differing = []
    for policy_id in dict.fromkeys([*before, *now]):
        if before.get(policy_id) != now.get(policy_id):
            differing.append(policy_id)
    return Difference(
        policies=tuple(differing),
        only_first=_lines_beyond(before, now, differing),
        only_second=_lines_beyond(now, before, differing),
    )


def _may_concern(first: Policies, second: Policies, category: str) -> list[str]:
    """Return the policies of the second set that no intent could cite, as the first lacks them."""
    new = []
    for policy in second.policies:
        is_elsewhere = category and policy.categories and not policy.concerns(category)
        if policy.id not in first.ids and not is_elsewhere:
            new.append(policy.id)
    return new


def _texts(policies: Policies, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the lines of those policies that are in the set, by id."""
    wanted = set(ids)
    texts = {}
    for policy in policies.policies:
        if policy.id in wanted:
            texts[policy.id] = _lines(policy)
    return texts


def _lines(policy: Policy) -> tuple[str, ...]:
    return (policy.title, policy.purpose, *policy.rules.values())


def _lines_beyond(
    texts: Mapping[str, tuple[str, ...]],
    others: Mapping[str, tuple[str, ...]],
    ids: Iterable[str],
) -> tuple[str, ...]:
    beyond = []
    for policy_id in ids:
        known = others.get(policy_id, ())
        own = texts.get(policy_id, ())
        beyond += [line for line in own if line not in known]
    return tuple(beyond)


def contrast(
    conversation: Conversation, first: FirstAnswer, settings: ContrastSettings
) -> Dialogue[PolicyCounterfactual]:
    """Answer a prompt under the second set, and let judges grade both answers under both sets.

    Raises:
        RowFailed: an answer is not right under its own set, or is not wrong under the other one.
            Or no valid answer came.
    """
    context = conversation.context
    second_context = context.under_second_policies
    # It costs nothing to know, and no answer under the second set would make up for it.
    _require_right("first", first.refined_grades, settings)
    conversation.context = second_context
    answer = yield from _answer(conversation, first.prompt, settings)
    _require_other_text(first.refined, answer)
    own_subject = subject_of("refined", first.refined)
    subject = subject_of(
        "refined" if isinstance(answer, RefinedCot) else "single_llm", answer
    )
    second_grades = yield from _grades(conversation, subject, settings.grading)
    _require_right("second", second_grades, settings)
    first_under_second = yield from _grades(conversation, own_subject, settings.grading)
    conversation.context = context
    second_under_first = yield from _grades(conversation, subject, settings.grading)
    judged: Mapping[PolicySet, _Judged] = {
        "first": _Judged(first.refined_grades, first_under_second),
        "second": _Judged(second_grades, second_under_first),
    }
    wrong_under = _require_contrast(judged, settings.pairs)
    return _record(conversation, first, answer, judged, wrong_under)


def _answer(
    conversation: Conversation, prompt: Prompt, settings: ContrastSettings
) -> Dialogue[_SecondAnswer]:
    """Write an answer under the policies of the conversation, fit to be trained on."""
    answer: _SecondAnswer
    checks: Sequence[RowCheck]
    if settings.counterfactuals.writer == "single_call":
        checks = COT_CHECKS
        answer = yield from answer_directly(conversation, prompt)
    else:
        checks = REFINED_COT_CHECKS
        seeded = yield from seed(conversation, prompt)
        deliberate = DELIBERATION_STYLES[settings.deliberation.style]
        deliberated = yield from deliberate(conversation, seeded, settings.deliberation)
        answer = yield from refine(conversation, deliberated)
    context = conversation.context
    failure = first_failure(
        answer, checks, settings.checks, context.policies, context.language_of
    )
    if failure is not None:
        raise RowFailed(*failure)
    return answer


def _grades(
    conversation: Conversation, subject: Subject, settings: GradingSettings
) -> Dialogue[tuple[Grade, ...]]:
    """Let each judge grade an answer under the policies of the conversation.

    Raises:
        RowFailed: no judge gave a valid grade.
    """
    version: Literal["refined", "single_llm"] = "refined"
    if subject.version == "single_llm":
        version = "single_llm"
    grades = []
    problems = []
    for judge in settings.roles:
        try:
            answer = yield from grade(
                conversation, judge, subject, settings.temperature
            )
        except RowFailed as failure:
            problems.append(f"{judge}: {failure.detail}")
        else:
            grades.append(to_grade(answer, version, judge, conversation.models[-1]))
    if not grades:
        raise RowFailed(FailureReason.NOT_GRADED, "; ".join(problems))
    return tuple(grades)


def _require_right(
    which: PolicySet, grades: Sequence[Grade], settings: ContrastSettings
) -> None:
    """Leave out an answer below the floors of training rows, under its own set.

    Raises:
        RowFailed: it is below one.
    """
    missed = missed_floors(grades, settings.score_gate)
    least = settings.pairs.min_chosen_score
    if missed is None and policy_score(grades) < least:
        missed = f"policy score {policy_score(grades):.2f}, {least:g} is due"
    if missed:
        detail = f"{which} answer under its own set: {missed}"
        raise RowFailed(FailureReason.BELOW_SCORE, detail, redraw=False)


def _require_other_text(first: RefinedCot, second: _SecondAnswer) -> None:
    if first.response.split() == second.response.split():
        detail = "the response is the same text under both sets"
        raise RowFailed(FailureReason.SAME_OUTCOME, detail, redraw=False)


def _require_contrast(
    judged: Mapping[PolicySet, _Judged], floors: PairFloors
) -> tuple[PolicySet, ...]:
    """Return the sets under which the answer of the other set is wrong.

    Raises:
        RowFailed: the answers do not differ as the sets do.
    """
    outcomes = {which: outcome_of(one.own) for which, one in judged.items()}
    scores = {which: policy_score(one.under_other) for which, one in judged.items()}
    wrong_under: list[PolicySet] = []
    for which, other in _OTHER.items():
        if scores[other] <= floors.max_rejected_score:
            wrong_under.append(which)
    differ = outcomes["first"] != outcomes["second"]
    if len(wrong_under) == len(_OTHER) or (wrong_under and differ):
        return tuple(wrong_under)
    detail = (
        f"the first answer {outcomes['first']} and scores {scores['first']:.2f} under the "
        f"second set; the second {outcomes['second']} and scores {scores['second']:.2f} under "
        f"the first; {floors.max_rejected_score:g} is the most of a wrong one"
    )
    reason = FailureReason.SAME_OUTCOME
    if differ:
        reason = FailureReason.RIGHT_UNDER_BOTH
    raise RowFailed(reason, detail, redraw=False)


def outcome_of(grades: Sequence[Grade]) -> Outcome:
    """Return what a response comes to, as its judges see it; in part where they disagree."""
    refusals = {grade.refusal for grade in grades}
    if refusals == {"none"}:
        return "complies"
    return "refuses" if refusals == {"full"} else "complies in part"


def _record(
    conversation: Conversation,
    first: FirstAnswer,
    answer: _SecondAnswer,
    judged: Mapping[PolicySet, _Judged],
    wrong_under: tuple[PolicySet, ...],
) -> PolicyCounterfactual:
    context = conversation.context
    second = context.under_second_policies.policies
    difference = find_difference(context.policies, second, first.refined)
    rules: dict[str, None] = {}
    for thought in answer.thoughts:
        rules |= dict.fromkeys(thought.rules)
    of_first, of_second = judged["first"], judged["second"]
    return PolicyCounterfactual(
        **first.prompt.model_dump(),
        **conversation.provenance(),
        prompt_kind=first.grades.prompt_kind,
        second_policies_version=second.version,
        differing_policies=difference.policies,
        only_first=difference.only_first,
        only_second=difference.only_second,
        first_system=_system(context, context.policies),
        second_system=_system(context, second),
        first_cot=join_thoughts(first.refined.thoughts),
        first_response=first.refined.response,
        first_cot_tokens=first.refined.cot_tokens,
        first_outcome=outcome_of(of_first.own),
        second_cot=join_thoughts(answer.thoughts),
        second_response=answer.response,
        second_cot_tokens=answer.cot_tokens,
        second_outcome=outcome_of(of_second.own),
        second_applicable_policies=answer.applicable_policies,
        second_rules=tuple(rules),
        first_score=policy_score(of_first.own),
        first_score_under_second=policy_score(of_first.under_other),
        second_score=policy_score(of_second.own),
        second_score_under_first=policy_score(of_second.under_other),
        first_grades=of_first.own,
        first_grades_under_second=of_first.under_other,
        second_grades=of_second.own,
        second_grades_under_first=of_second.under_other,
        wrong_under=wrong_under,
    )


def _system(context: DialogueContext, policies: Policies) -> str:
    return context.templates.task(
        Stage.POLICY_COUNTERFACTUALS, POLICY_SYSTEM, policies=policies.policies
    )
