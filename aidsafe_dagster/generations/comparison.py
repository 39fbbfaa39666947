"""Two generations side by side: who spoke, what it said, and what the training made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.comparisons.comparison import Comparison, compare
from aidsafe_dagster.comparisons.sides import Side
from aidsafe_dagster.evaluation.held_out import HeldOutResult
from aidsafe_dagster.generations.adapters_compared import (
    ComparedShare,
    compare_answers,
    compare_held_out,
)
from aidsafe_dagster.generations.next_settings import candidate_name
from aidsafe_dagster.generations.records import Generation
from aidsafe_dagster.generations.target_answers import (
    Speaker,
    TargetMean,
    TargetShare,
    compare_means,
    compare_shares,
    speakers,
    target_answers,
)
from aidsafe_dagster.training.generation import SpeakingAdapter


@dataclass(frozen=True)
class ComparedGeneration:
    """A generation as a side of a comparison."""

    generation: Generation
    side: Side
    reports: Path
    """Folder of its reports."""

    @property
    def adapter(self) -> SpeakingAdapter | None:
        """The adapter that was trained last in it."""
        return self.generation.adapter("dpo") or self.generation.adapter("sft")


@dataclass(frozen=True)
class GenerationComparison:
    """Everything that is measured of two generations. A is the earlier one."""

    a: ComparedGeneration
    b: ComparedGeneration
    data: Comparison
    """Of all stages, as `aidsafe compare` shows it."""
    speakers_a: Sequence[Speaker]
    speakers_b: Sequence[Speaker]
    target_shares: Sequence[TargetShare]
    target_means: Sequence[TargetMean]
    shares: Sequence[ComparedShare]
    """On benchmarks, of the adapters that the two generations trained."""
    held_out: Sequence[HeldOutResult]
    """On rows of B's test split."""


def compare_generations(
    a: ComparedGeneration, b: ComparedGeneration, *, seed: int, resamples: int
) -> GenerationComparison:
    """Compare two generations on the prompts that both have.

    Raises:
        SetupError: they have no prompt in common, or a file cannot be read.
    """
    data = compare(a.side, b.side, seed=seed, resamples=resamples)
    ids = [one.prompt_id for one in data.prompts]
    first = target_answers(a.side, ids)
    second = target_answers(b.side, ids)
    shares: Sequence[ComparedShare] = ()
    held_out: Sequence[HeldOutResult] = ()
    if a.adapter and b.adapter:
        names = (candidate_name(a.adapter), candidate_name(b.adapter))
        reports = (b.reports, a.reports)
        shares = compare_answers(reports, *names)
        held_out = compare_held_out(reports, *names)
    return GenerationComparison(
        a=a,
        b=b,
        data=data,
        speakers_a=speakers(a.side),
        speakers_b=speakers(b.side),
        target_shares=compare_shares(first, second),
        target_means=compare_means(first, second, seed, resamples),
        shares=shares,
        held_out=held_out,
    )
