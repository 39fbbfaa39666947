"""Planted truth: how much of what the rehearsal planted the pipeline found, in precision and recall with their counts.

Three kinds of lines: the refiner, thought by thought; the checks of a finished row, policy coverage among them; and
failed calls, by reason. Then what the judges made of it. Rows that were drawn anew are held against what was planted in
that draw.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from aidsafe_dagster.engines.rehearsal.calls import CallsTruth, calls_truth, deliberation_truth
from aidsafe_dagster.engines.rehearsal.confusion import ConfusionRow, line
from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.faults import THOUGHT_FAULTS
from aidsafe_dagster.engines.rehearsal.reading import declines, looks_malicious
from aidsafe_dagster.engines.rehearsal.truth import grade_truth, refined_truth
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.cot_grades import subject_of
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    CotGrades,
    DeliberatedCot,
    Failure,
    FailureReason,
    PreferencePair,
    Prompt,
    Record,
    RefinedCot,
    Role,
    Row,
    SeedCot,
    SingleLlmCot,
    Stage,
    ThoughtVerdict,
    Version,
)

RECORDS: Mapping[Stage, type[Record]] = {
    Stage.PROMPTS: Prompt,
    Stage.SINGLE_LLM_COTS: SingleLlmCot,
    Stage.SEED_COTS: SeedCot,
    Stage.DELIBERATED_COTS: DeliberatedCot,
    Stage.REFINED_COTS: RefinedCot,
    Stage.COT_GRADES: CotGrades,
    Stage.PREFERENCE_PAIRS: PreferencePair,
}
"""The stages whose rows the report reads."""
_ASKED_AS_BEFORE = (
    FailureReason.ENGINE_ERROR,
    FailureReason.REJECTED_BY_ENGINE,
    FailureReason.INTERNAL_ERROR,
)
"""Failures after which nothing is drawn anew."""
_CHECKS = {
    FailureReason.POLICY_NOT_COVERED: "coverage check",
    FailureReason.OVER_FILTERED: "length check",
    FailureReason.AGENT_TALK: "agent-talk check",
    FailureReason.NO_CONTRAST: "contrast check",
    FailureReason.MARGIN_TOO_SMALL: "margin check",
    FailureReason.UNPARSABLE: "failed calls",
    FailureReason.REFUSED_TO_DELIBERATE: "failed calls",
}
_LOW = 3
"""A score that says that something is wrong."""


@dataclass(frozen=True)
class Outcome:
    """What a stage came to: its rows, and the failures beside them."""

    rows: Sequence[Any] = ()
    failures: Sequence[Failure] = ()


def outcome_of(stage: Stage, rows: pl.DataFrame, failures: pl.DataFrame) -> Outcome:
    """From a stage's two tables."""
    return Outcome(from_frame(rows, RECORDS[stage]), from_frame(failures, Failure))


def planted_truth_report(
    plan: FaultPlan,
    policies: Policies,
    made: Mapping[Stage, Outcome],
    deliberation: DeliberationSettings = DeliberationSettings(),
) -> list[ConfusionRow]:
    """The lines of what the stages that were made came to.

    None if any row was made by somebody else, or under other settings of the rehearsal: then the plan is not the truth.
    """
    rows = (row for outcome in made.values() for row in outcome.rows if isinstance(row, Row))
    if any(row.model != plan.settings.model for row in rows):
        return []
    by_id = {
        stage: {row.prompt_id: row for row in made.get(stage, Outcome()).rows} for stage in RECORDS
    }
    truth = _Truth(plan, policies, made, deliberation, by_id)
    return [*truth.of_refiner(), *truth.of_failures(), *truth.of_signatures(), *truth.of_judges()]


@dataclass(frozen=True)
class _End:
    """How a prompt ended at a stage, and from which calls it had been drawn anew by then."""

    prompt_id: str
    redraws: tuple[int, ...]
    reason: FailureReason | None


def _ends(outcome: Outcome) -> Iterator[_End]:
    for row in outcome.rows:
        yield _End(row.prompt_id, row.redraws, None)
    for failure in outcome.failures:
        redraws = failure.redraws if failure.reason in _ASKED_AS_BEFORE else failure.redraws[:-1]
        yield _End(failure.prompt_id, redraws, failure.reason)


@dataclass(frozen=True)
class _Truth:
    plan: FaultPlan
    policies: Policies
    made: Mapping[Stage, Outcome]
    deliberation: DeliberationSettings
    by_id: Mapping[Stage, Mapping[str, Any]]
    """Rows by stage and prompt."""

    def of_refiner(self) -> Iterator[ConfusionRow]:
        """Each kind of fault, and whether a thought is dropped at all: there, a false alarm is a sound thought lost."""
        seen = [
            (planted[judgement.thought], judgement.verdict)
            for row in self.made.get(Stage.REFINED_COTS, Outcome()).rows
            for planted in (self.plan.thought_faults(row.prompt_id, row.deliberated_thoughts),)
            for judgement in row.judgements
        ]
        for fault in THOUGHT_FAULTS if seen else ():
            yield line(
                "refiner: thoughts", fault, [(true is fault, said is fault) for true, said in seen]
            )
        if seen:
            keep = ThoughtVerdict.KEEP
            dropped = [(true is not keep, said is not keep) for true, said in seen]
            yield line("refiner: thoughts", "any of these", dropped)

    def of_failures(self) -> Iterator[ConfusionRow]:
        """By stage and reason: the rows in which it was planted, and those that failed for it."""
        planted: Mapping[Stage, tuple[Stage, Callable[[_End, Any], FailureReason | None]]] = {
            Stage.SINGLE_LLM_COTS: (Stage.PROMPTS, self._of_baseline),
            Stage.SEED_COTS: (Stage.PROMPTS, self._of_seed),
            Stage.DELIBERATED_COTS: (Stage.SEED_COTS, self._of_deliberation),
            Stage.REFINED_COTS: (Stage.DELIBERATED_COTS, self._of_refinement),
            Stage.PREFERENCE_PAIRS: (Stage.REFINED_COTS, self._of_pair),
        }
        for stage, (upstream, truth) in planted.items():
            given = self.by_id[upstream]
            ends = [end for end in _ends(self.made.get(stage, Outcome())) if end.prompt_id in given]
            pairs = [(truth(end, given[end.prompt_id]), end.reason) for end in ends]
            for reason in FailureReason:
                if any(reason in pair for pair in pairs):
                    what = f"{stage}: {_CHECKS.get(reason, 'other failures')}"
                    yield line(
                        what, reason, [(true is reason, found is reason) for true, found in pairs]
                    )

    def of_signatures(self) -> Iterator[ConfusionRow]:
        """Deliberations in which nobody had anything to add."""
        seeds = self.by_id[Stage.SEED_COTS]
        pairs = [
            (self._deliberation(row.redraws, seeds[row.prompt_id]).stalled, row.stalled)
            for row in self.by_id[Stage.DELIBERATED_COTS].values()
            if row.prompt_id in seeds
        ]
        if any(map(any, pairs)):
            yield line(f"{Stage.DELIBERATED_COTS}: signatures", "stalled", pairs)

    def of_judges(self) -> Iterator[ConfusionRow]:
        """Chains of thought that are unfaithful to the policies, and those that a judge gave a low score for it."""
        stages: Mapping[Version, Stage] = {
            "refined": Stage.REFINED_COTS,
            "deliberated": Stage.DELIBERATED_COTS,
            "single_llm": Stage.SINGLE_LLM_COTS,
        }
        pairs: dict[str, list[tuple[bool, bool]]] = {}
        for graded in self.by_id[Stage.COT_GRADES].values():
            for grade in graded.grades:
                if row := self.by_id[stages[grade.version]].get(graded.prompt_id):
                    subject = subject_of(grade.version, row)
                    truth = grade_truth(self.plan, graded, self.policies, grade.judge, subject)
                    low = (
                        truth.deserved["policy_to_cot"] <= _LOW,
                        grade.policy_to_cot.score <= _LOW,
                    )
                    pairs.setdefault(grade.judge, []).append(low)
        for judge, seen in pairs.items():
            yield line(f"{judge}: unfaithful CoTs", f"policy_to_cot of {_LOW} or less", seen)

    def _of_baseline(self, end: _End, given: Prompt) -> FailureReason | None:
        malicious = looks_malicious(given, self.policies)
        return calls_truth(
            self.plan, end.prompt_id, (Role.SINGLE_LLM,), end.redraws, declines=malicious
        ).failure

    def _of_seed(self, end: _End, _: Prompt) -> FailureReason | None:
        roles = (Role.INTENT_DECOMPOSER, Role.INITIALIZER)
        return calls_truth(self.plan, end.prompt_id, roles, end.redraws).failure

    def _of_deliberation(self, end: _End, given: SeedCot) -> FailureReason | None:
        return self._deliberation(end.redraws, given).failure

    def _deliberation(self, redraws: tuple[int, ...], seed: SeedCot) -> CallsTruth:
        declining = declines(seed.intents)
        return deliberation_truth(
            self.plan, seed.prompt_id, self.deliberation, redraws, declines=declining
        )

    def _of_refinement(self, end: _End, given: DeliberatedCot) -> FailureReason | None:
        calls = calls_truth(self.plan, end.prompt_id, (Role.REFINER,), end.redraws)
        truth = refined_truth(
            self.plan, end.prompt_id, given.thoughts, given.applicable_policies, end.redraws
        )
        return calls.failure or truth.check

    def _of_pair(self, end: _End, _: RefinedCot) -> FailureReason | None:
        """A stubborn target need not leave too small a margin, but mostly does."""
        draw = len(end.redraws)
        if self.plan.whisper_fails(end.prompt_id, draw):
            return FailureReason.NO_CONTRAST
        return (
            FailureReason.MARGIN_TOO_SMALL if self.plan.is_stubborn(end.prompt_id, draw) else None
        )
