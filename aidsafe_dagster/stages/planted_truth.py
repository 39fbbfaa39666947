"""What the rehearsal engine planted in the rows of a lake, compared with what the pipeline found.

The engine writes down what it plants in every answer (`engines/rehearsal/planted.py`). A row is
compared with the records of the calls that made it: a row drawn anew, with those of its last draw.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.engines.rehearsal.faults import THOUGHT_FAULTS, Fault
from aidsafe_dagster.engines.rehearsal.planted import (
    PlantedRecords,
    planted_path,
    read_planted,
)
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.cot_grades import subject_of
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    Failure,
    FailureReason,
    Row,
    Stage,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.frames import Dataset, read_records
from aidsafe_dagster.reports.planted import (
    ConfusionLine,
    confusion_line,
    unrecorded_line,
)
from aidsafe_dagster.settings.schema import Settings

_CALLS = {
    Fault.UNPARSABLE: FailureReason.UNPARSABLE,
    Fault.REFUSAL: FailureReason.REFUSED_TO_DELIBERATE,
}
_REASONS: Mapping[str, Mapping[Fault, FailureReason]] = {
    Stage.SINGLE_LLM_COTS: _CALLS,
    Stage.SEED_COTS: _CALLS,
    Stage.DELIBERATED_COTS: _CALLS,
    Stage.REFINED_COTS: _CALLS
    | {
        Fault.MISSING_POLICY: FailureReason.POLICY_NOT_COVERED,
        Fault.OVER_FILTERED: FailureReason.OVER_FILTERED,
        Fault.AGENT_TALK: FailureReason.AGENT_TALK,
    },
    # An unparsable answer costs a candidate here, and not the pair. A stubborn target mostly scores
    # too high; where it was to refuse, it answers, which counts as found in nothing planted.
    Stage.PREFERENCE_PAIRS: {
        Fault.WHISPER_FAILS: FailureReason.NO_CONTRAST,
        Fault.STUBBORN: FailureReason.REJECTED_ABOVE_SCORE,
    },
}
"""The failure that each fault has to end in, by stage."""
_CHECKS = {
    FailureReason.POLICY_NOT_COVERED: "coverage check",
    FailureReason.OVER_FILTERED: "length check",
    FailureReason.AGENT_TALK: "agent-talk check",
    FailureReason.NO_CONTRAST: "contrast check",
    FailureReason.REJECTED_ABOVE_SCORE: "score floor",
    FailureReason.REJECTED_ANSWERS: "refusal floor",
    FailureReason.UNPARSABLE: "failed calls",
    FailureReason.REFUSED_TO_DELIBERATE: "failed calls",
}
# These failures say nothing about an answer, so a later run asks the same call as before.
_NOT_DRAWN_ANEW = (
    FailureReason.ENGINE_ERROR,
    FailureReason.REJECTED_BY_ENGINE,
    FailureReason.INTERNAL_ERROR,
)
_COTS: Mapping[str, Stage] = {
    "refined": Stage.REFINED_COTS,
    "deliberated": Stage.DELIBERATED_COTS,
    "single_llm": Stage.SINGLE_LLM_COTS,
}
_LOW_SCORE = 3
"""A score that says that something is wrong."""


@dataclass(frozen=True)
class StageResult:
    """The rows of a stage, and the failures beside them."""

    rows: Sequence[Any] = ()
    failures: Sequence[Failure] = ()


Results = Mapping[str, StageResult]


def planted_truth(dataset: Dataset, settings: Settings) -> list[ConfusionLine]:
    """Return the lines of the report; none for rows that a model made."""
    if not dataset.simulated:
        return []
    results: dict[str, StageResult] = {}
    for stage, definition in STAGES.items():
        if definition.dialogue is None:
            continue
        failures = dataset.failures.filter(stage=str(stage))
        rows = read_records(dataset, stage, definition.record)
        results[stage] = StageResult(list(rows.values()), from_frame(failures, Failure))
    path = planted_path(settings.home)
    records = PlantedRecords(read_planted(path, settings.rehearsal.model))
    return compare_with_planted(records, results)


def compare_with_planted(
    records: PlantedRecords, results: Results
) -> list[ConfusionLine]:
    """Return a line for each kind of fault: how often it was planted, and how often found."""
    comparison = _Comparison(records, results)
    return [
        *comparison.refiner_lines(),
        *comparison.failure_lines(),
        *comparison.stalled_lines(),
        *comparison.judge_lines(),
        *comparison.unrecorded_lines(),
    ]


@dataclass(frozen=True)
class _Ending:
    """How a prompt ended at a stage, with what was planted in the answers that led there."""

    row: Any
    """None for a failure."""
    reason: FailureReason | None
    """None for a row."""
    faults: tuple[Fault, ...] | None
    """None if they were not recorded."""


class _Comparison:
    def __init__(self, records: PlantedRecords, results: Results) -> None:
        self._records = records
        self._endings: dict[str, list[_Ending]] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        for stage, result in results.items():
            endings: list[_Ending] = []
            recorded: dict[str, Any] = {}
            for row in result.rows:
                ending = self._row_ending(stage, row)
                endings.append(ending)
                if ending.faults is not None:
                    recorded[row.prompt_id] = row
            for failure in result.failures:
                # A row that is left out before anybody is asked shows no answer to compare.
                if not failure.turn and failure.reason in EXCLUSION_REASONS:
                    continue
                endings.append(self._failure_ending(stage, failure))
            self._endings[stage] = endings
            self._rows[stage] = recorded

    def refiner_lines(self) -> Iterator[ConfusionLine]:
        """By kind of fault, and by whether a thought is dropped at all.

        There, a false alarm is a sound thought lost.
        """
        judged: list[tuple[Fault | None, ThoughtVerdict]] = []
        for row in self._recorded(Stage.REFINED_COTS).values():
            # Thoughts are planted in the deliberation. Without its record, a thought that seems
            # sound may be a planted one.
            if row.prompt_id not in self._recorded(Stage.DELIBERATED_COTS):
                continue
            texts = {}
            for thought in row.deliberated_thoughts:
                texts[thought.number] = thought.text
            for judgement in row.judgements:
                text = texts[judgement.thought]
                planted = self._records.thought_fault(row.prompt_id, text)
                judged.append((planted, judgement.verdict))
        if not judged:
            return
        for fault in THOUGHT_FAULTS:
            pairs = []
            for planted, verdict in judged:
                pairs.append((planted is fault, verdict.value == fault.value))
            yield confusion_line("refiner: thoughts", fault, pairs)
        pairs = []
        for planted, verdict in judged:
            is_dropped = verdict is not ThoughtVerdict.KEEP
            pairs.append((planted is not None, is_dropped))
        yield confusion_line("refiner: thoughts", "any of these", pairs)

    def failure_lines(self) -> Iterator[ConfusionLine]:
        """By stage and reason: the rows in which it was planted, and those that failed for it."""
        for stage, reasons in _REASONS.items():
            endings: list[tuple[set[FailureReason], FailureReason | None]] = []
            for ending in self._endings.get(stage, ()):
                if ending.faults is None:
                    continue
                planted = set()
                for fault in ending.faults:
                    if fault in reasons:
                        planted.add(reasons[fault])
                endings.append((planted, ending.reason))
            # Reasons that no fault is planted for are listed too: all their failures are surprises.
            for reason in FailureReason:
                pairs = []
                for planted, failed_for in endings:
                    pairs.append((reason in planted, failed_for is reason))
                if _shows_anything(pairs):
                    check = _CHECKS.get(reason, "other failures")
                    yield confusion_line(f"{stage}: {check}", reason, pairs)

    def stalled_lines(self) -> Iterator[ConfusionLine]:
        """Deliberations in which nobody had anything to add."""
        stage = Stage.DELIBERATED_COTS
        pairs: list[tuple[bool, bool]] = []
        for ending in self._endings.get(stage, ()):
            if ending.row is not None and ending.faults is not None:
                pairs.append((Fault.STALLED in ending.faults, ending.row.stalled))
        if _shows_anything(pairs):
            yield confusion_line(f"{stage}: signatures", Fault.STALLED, pairs)

    def judge_lines(self) -> Iterator[ConfusionLine]:
        """CoTs that are unfaithful to the policies, and those with a low score for it."""
        pairs: dict[str, list[tuple[bool, bool]]] = {}
        for graded in self._recorded(Stage.COT_GRADES).values():
            for grade in graded.grades:
                row = self._recorded(_COTS[grade.version]).get(graded.prompt_id)
                if row is None:
                    continue
                subject = subject_of(grade.version, row)
                deserved = self._records.deserved(
                    graded.prompt_id, grade.judge, subject
                )
                if deserved is not None:
                    # Judges err in small steps, so only whether a score is low is compared.
                    is_unfaithful = deserved["policy_to_cot"] <= _LOW_SCORE
                    is_low = grade.policy_to_cot.score <= _LOW_SCORE
                    pairs.setdefault(grade.judge, []).append((is_unfaithful, is_low))
        for judge, scores in pairs.items():
            fault = f"policy_to_cot of {_LOW_SCORE} or less"
            yield confusion_line(f"{judge}: unfaithful CoTs", fault, scores)

    def unrecorded_lines(self) -> Iterator[ConfusionLine]:
        for stage, endings in self._endings.items():
            unrecorded = sum(ending.faults is None for ending in endings)
            if unrecorded:
                yield unrecorded_line(stage, unrecorded)

    def _recorded(self, stage: str) -> Mapping[str, Any]:
        return self._rows.get(stage, {})

    def _row_ending(self, stage: str, row: Row) -> _Ending:
        faults = self._records.faults(
            row.prompt_id, stage, row.usage.calls, row.redraws
        )
        return _Ending(row, None, faults)

    def _failure_ending(self, stage: str, failure: Failure) -> _Ending:
        # The last redraw is what the failure itself asks of the next run.
        redraws = failure.redraws
        if failure.reason not in _NOT_DRAWN_ANEW:
            redraws = redraws[:-1]
        faults = self._records.faults(
            failure.prompt_id, stage, failure.usage.calls, redraws
        )
        return _Ending(None, failure.reason, faults)


def _shows_anything(pairs: Sequence[tuple[bool, bool]]) -> bool:
    """Tell whether anything was planted or found; a line of zeros would only hide the others."""
    return any(planted or found for planted, found in pairs)
