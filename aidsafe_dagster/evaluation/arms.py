"""A comparison of trainings: what each arm was trained on, and how it answered the benchmarks."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import Field

from aidsafe_dagster.evaluation.results import MEASURES, Measure
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.quality.statistics import Estimate, paired_shares, proportion
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.recipe.safety_eval import FAILED, EvaluatedAnswer

TRAINING = "training"
OVER_REFUSAL = "over-refusal"
_ANSWERS, _COMPARISON = "answers.parquet", "comparison.json"


class ArmResult(Record):
    """One arm: how it was trained, and what it cost to train and to ask."""

    name: str
    title: str
    missing: str = Field(
        default="", description="why it was not trained or asked; empty if it was"
    )
    trouble: str = Field(
        default="",
        description="why its server answered nothing; its prompts count as unanswered",
    )
    adapter: str = Field(default="", description="folder; empty for the base model")
    weights: str = Field(default="", description="hash of the adapter's weights")
    rows: int = Field(default=0, description="rows of the train split")
    rows_too_long: int = 0
    training_s: float = Field(
        default=0, description="seconds that its training took, whenever that was"
    )
    simulated: bool = Field(
        default=False, description="trained on rows of the rehearsal engine"
    )
    calls: int = Field(
        default=0, description="answers and verdicts, replayed ones included"
    )
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0


class ArmComparison(Record):
    """What was compared, and on what. It holds no time, so the same comparison is the same file."""

    kind: str = Field(description="name of its command")
    model: str = Field(description="the base model")
    judge: str
    judge_simulated: bool
    arms: tuple[ArmResult, ...]
    reference: str = Field(description="name of the arm that others are compared with")
    benchmarks: Mapping[str, int] = Field(description="prompts asked, by benchmark")
    left_out: Mapping[str, str] = Field(
        description="benchmarks that could not be asked, with the reason"
    )
    parts: Mapping[str, str] = Field(
        description="what else bears on the figures: settings, policies, templates, prompts"
    )
    currency: str

    @property
    def key(self) -> str:
        """Eight hexadecimal digits; others for other arms, settings, models or prompts."""
        arms = [[arm.name, arm.weights, arm.missing] for arm in self.arms]
        parts = [self.kind, self.model, arms, dict(self.parts)]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.key}"

    @property
    def simulated_arms(self) -> list[str]:
        return [arm.title for arm in self.arms if arm.simulated]


@dataclass(frozen=True)
class ComparedArms:
    """A comparison with every answer."""

    comparison: ArmComparison
    answers: Sequence[EvaluatedAnswer]


class ArmArchive:
    """The comparisons of a project, each in a folder of its own, so that none replaces another.

    Args:
        home: of the settings.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "arm_comparisons"

    def answers_path(self, comparison: ArmComparison) -> Path:
        return self.folder / comparison.name / _ANSWERS

    def store(self, compared: ComparedArms) -> None:
        """Write a comparison; a kill in between leaves it unlisted, or as it was."""
        comparison = compared.comparison
        with atomic_write(self.answers_path(comparison)) as temporary:
            to_frame(compared.answers, EvaluatedAnswer).write_parquet(temporary)
        with atomic_write(self.folder / comparison.name / _COMPARISON) as temporary:
            temporary.write_text(comparison.model_dump_json(indent=1), "utf-8")

    def read(self, name: str) -> ComparedArms:
        """Return the comparison of a name.

        Raises:
            SetupError: there is none, or a file is damaged.
        """
        file = self.folder / name / _COMPARISON
        try:
            comparison = ArmComparison.model_validate_json(file.read_text("utf-8"))
            frame = pl.read_parquet(file.with_name(_ANSWERS), glob=False)
            answers = from_frame(frame, EvaluatedAnswer)
        except (ValueError, OSError, pl.exceptions.PolarsError) as error:
            raise SetupError(
                f"{file.parent}: this comparison cannot be read ({error}); remove the folder and "
                "run it again: the journal has its answers"
            ) from error
        return ComparedArms(comparison, answers)

    def all(self) -> Iterator[ComparedArms]:
        """Yield every comparison, by kind, the oldest first.

        Raises:
            SetupError: a file is damaged.
        """
        files = list(self.folder.glob(f"*/{_COMPARISON}"))
        files.sort(key=lambda file: (_kind_of(file), file.stat().st_mtime, file))
        for file in files:
            yield self.read(file.parent.name)


@dataclass(frozen=True)
class ArmFigure:
    """One measure of one arm on one benchmark."""

    arm: ArmResult
    share: Estimate | None
    """None: the arm was not asked."""
    difference: Estimate | None
    """From the reference on the same prompts; None for the reference itself."""
    failed: int
    """Prompts without a result. They are in the denominator."""


@dataclass(frozen=True)
class MeasuredArms:
    """All arms on one measure of one benchmark."""

    benchmark: str
    measure: Measure
    prompts: int
    figures: Sequence[ArmFigure]


def measure_arms(compared: ComparedArms) -> list[MeasuredArms]:
    """Return every measure of every benchmark, with a figure for each arm."""
    outcomes: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for answer in compared.answers:
        by_arm = outcomes.setdefault((answer.benchmark, answer.kind), {})
        by_arm.setdefault(answer.candidate, {})[answer.prompt_id] = answer.outcome
    measured = []
    for (benchmark, kind), by_arm in outcomes.items():
        for measure in MEASURES:
            if measure.kind == kind:
                measured.append(
                    _measure(compared.comparison, benchmark, measure, by_arm)
                )
    order = list(compared.comparison.benchmarks)
    measured.sort(key=lambda row: (order.index(row.benchmark), row.measure.kind))
    return measured


def _measure(
    comparison: ArmComparison,
    benchmark: str,
    measure: Measure,
    by_arm: Mapping[str, Mapping[str, str]],
) -> MeasuredArms:
    reference = by_arm.get(comparison.reference, {})
    figures = []
    for arm in comparison.arms:
        outcomes = by_arm.get(arm.name, {})
        counted = sum(outcome in measure.counted for outcome in outcomes.values())
        difference = None
        if arm.name != comparison.reference:
            difference = _difference(outcomes, reference, measure)
        figures.append(
            ArmFigure(
                arm,
                proportion(counted, len(outcomes)),
                difference,
                sum(outcome in FAILED for outcome in outcomes.values()),
            )
        )
    prompts = max((len(outcomes) for outcomes in by_arm.values()), default=0)
    return MeasuredArms(benchmark, measure, prompts, figures)


def _difference(
    outcomes: Mapping[str, str], reference: Mapping[str, str], measure: Measure
) -> Estimate | None:
    gained = lost = same = 0
    for prompt, outcome in outcomes.items():
        if prompt not in reference:
            continue
        same += 1
        counts = outcome in measure.counted
        counted = reference[prompt] in measure.counted
        gained += counts and not counted
        lost += counted and not counts
    return paired_shares(gained, lost, same)


def _kind_of(file: Path) -> str:
    return file.parent.name.rpartition("-")[0]
