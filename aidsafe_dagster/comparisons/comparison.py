"""Two sides on the same prompts: what changed, by how much, and how sure that is."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from aidsafe_dagster.comparisons.measures import (
    OUTCOME,
    MeasuredPrompt,
    Measures,
    kinds_of_change,
    measure,
)
from aidsafe_dagster.comparisons.recipes import (
    ChangedRule,
    RecipeDifference,
    recipe_differences,
)
from aidsafe_dagster.comparisons.sides import Side
from aidsafe_dagster.quality.statistics import (
    RESAMPLES,
    Estimate,
    paired_difference,
    paired_shares,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import METRICS, Metric, PromptKind, Stage, Usage
from aidsafe_dagster.tryout.comparison import (
    ChangedText,
    PromptComparison,
    compare_prompt,
)


@dataclass(frozen=True)
class ScoreFigure:
    """A score on both sides, over the prompts that a judge scored on both."""

    metric: Metric
    a: float | None
    """Mean from 1 to 5; None without a prompt."""
    b: float | None
    difference: Estimate | None
    """Of the second side over the first, on the same prompts."""
    higher: int
    """Prompts on which the second side scores higher."""
    lower: int


@dataclass(frozen=True)
class CountFigure:
    """How many prompts something is true of, on both sides."""

    name: str
    n: int
    """Prompts that count, whatever became of them."""
    a: int
    b: int
    gained: int
    """True on the second side alone."""
    lost: int
    """True on the first side alone."""
    difference: Estimate | None
    """Of the shares, second over first, on the same prompts."""


@dataclass(frozen=True)
class AmountFigure:
    """An amount on both sides, over all prompts that both have."""

    name: str
    a: float
    b: float
    difference: Estimate | None
    """A prompt, second over first."""


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured."""

    a: Side
    b: Side
    prompts: tuple[MeasuredPrompt, ...]
    """Those that both sides have."""
    only_a: int
    """Prompts that the second side does not have."""
    only_b: int
    simulated_left_out: int
    """Prompts with simulated rows on a side that has rows of a model as well. Not compared."""
    recipes: tuple[RecipeDifference, ...]
    seed: int = 0
    resamples: int = RESAMPLES

    @cached_property
    def changed(self) -> tuple[MeasuredPrompt, ...]:
        """The prompts that came out otherwise: outcomes and refusals first, then by score."""
        changed = [one for one in self.prompts if one.changed]
        return tuple(sorted(changed, key=_rank))

    @property
    def simulated_sides(self) -> tuple[str, ...]:
        """Those of 'A' and 'B' whose rows the rehearsal engine made."""
        sides = []
        if any(one.a.is_simulated for one in self.prompts):
            sides.append("A")
        if any(one.b.is_simulated for one in self.prompts):
            sides.append("B")
        return tuple(sides)

    @property
    def currency(self) -> str | None:
        """The currency of both sides; None if money cannot be compared."""
        if self.a.currency and self.b.currency and self.a.currency != self.b.currency:
            return None
        return self.a.currency or self.b.currency

    @property
    def judges_changed(self) -> tuple[str, str] | None:
        """Judges with their models on both sides, if they are not the same."""
        first: set[str] = set()
        second: set[str] = set()
        for one in self.prompts:
            first |= one.a.judges
            second |= one.b.judges
        if not first or not second or first == second:
            return None
        return ", ".join(sorted(first)), ", ".join(sorted(second))

    @property
    def graded_on_both(self) -> int:
        return sum(one.has_graded_pair for one in self.prompts)

    @cached_property
    def scores(self) -> tuple[ScoreFigure, ...]:
        return tuple(self._score(metric) for metric in METRICS)

    @cached_property
    def outcomes(self) -> tuple[CountFigure, ...]:
        """What became of the prompts. All that both sides have count, those that failed as well."""
        figures = [
            self.count("final CoT and response", lambda one: one.is_made),
            self.count("failed before that", lambda one: bool(one.failure)),
            self.count("graded", lambda one: bool(one.refusal)),
            self.count("refuses in full", lambda one: one.refusal == "full"),
            self.count("preference pair", lambda one: one.margin is not None),
        ]
        has_splits = [
            one.a.training is not None and one.b.training is not None
            for one in self.prompts
        ]
        if any(has_splits):
            figures.append(self.count("SFT row", lambda one: _has(one, "sft")))
            figures.append(self.count("DPO row", lambda one: _has(one, "dpo")))
        return tuple(figures)

    @cached_property
    def refusals(self) -> tuple[tuple[PromptKind, str, CountFigure], ...]:
        """Kind of prompt, how far, and the figure; over the prompts that are graded on both."""
        figures = []
        kinds: tuple[PromptKind, ...] = ("harmful", "borderline", "benign")
        for kind in kinds:
            own = [one for one in self.prompts if one.kind == kind]
            own = [one for one in own if one.has_graded_pair]
            if not own:
                continue
            full = self.count("in full", lambda one: one.refusal == "full", own)
            part = self.count("in part", lambda one: one.refusal == "partial", own)
            figures += [(kind, "in full", full), (kind, "in part", part)]
        return tuple(figures)

    @cached_property
    def coverage(self) -> tuple[CountFigure, ...]:
        """How many prompts have a final chain of thought that cites a policy, by policy."""
        policies: set[str] = set()
        for one in self.prompts:
            policies |= one.a.policies | one.b.policies
        return tuple(self._coverage(policy) for policy in sorted(policies))

    @cached_property
    def failures(self) -> tuple[tuple[str, int, int], ...]:
        """Stage and reason, and on how many prompts of each side; what has no pair as well."""
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for one in self.prompts:
            for side, own in enumerate((one.a, one.b)):
                for reason in (own.failure, own.no_pair and f"pair {own.no_pair}"):
                    if reason:
                        counts[reason][side] += 1
        lines = [(reason, a, b) for reason, (a, b) in counts.items()]
        return tuple(sorted(lines, key=lambda line: (-max(line[1:]), line[0])))

    @cached_property
    def amounts(self) -> tuple[AmountFigure, ...]:
        """Calls, tokens and money; failed rows are paid for as well."""
        figures = [
            self._amount("calls", lambda one: one.usage.calls),
            self._amount("tokens in", lambda one: one.usage.prompt_tokens),
            self._amount("of them cached", lambda one: one.usage.cached_tokens),
            self._amount("tokens out", lambda one: one.usage.completion_tokens),
        ]
        reasoning = self._amount(
            "of them reasoning", lambda one: one.usage.reasoning_tokens
        )
        if reasoning.a or reasoning.b:
            figures.append(reasoning)
        return tuple(figures)

    @cached_property
    def money(self) -> AmountFigure | None:
        """What the rows cost; None if they cost nothing, or in two currencies."""
        if self.currency is None:
            return None
        figure = self._amount("money", lambda one: one.usage.cost)
        if not figure.a and not figure.b:
            return None
        return figure

    @cached_property
    def usage_by_stage(self) -> Mapping[str, tuple[Usage, Usage]]:
        totals: dict[str, tuple[Usage, Usage]] = {}
        for stage in Stage:
            a, b = Usage(), Usage()
            for one in self.prompts:
                a += one.a.usage_by_stage.get(stage, Usage())
                b += one.b.usage_by_stage.get(stage, Usage())
            if a.calls or b.calls:
                totals[str(stage)] = (a, b)
        return totals

    @property
    def changed_policies(self) -> tuple[ChangedRule, ...]:
        """The rules that differ somewhere, each once."""
        rules: dict[ChangedRule, None] = {}
        for difference in self.recipes:
            rules |= dict.fromkeys(difference.policies)
        return tuple(rules)

    @property
    def changed_templates(self) -> tuple[ChangedText, ...]:
        """The templates that differ somewhere, each once."""
        templates: dict[ChangedText, None] = {}
        for difference in self.recipes:
            templates |= dict.fromkeys(difference.templates)
        return tuple(templates)

    def changes_by_kind(self) -> Mapping[str, int]:
        """Return on how many prompts each thing came out otherwise, the most frequent first."""
        counts: Counter[str] = Counter()
        for one in self.prompts:
            counts.update(one.changed)
        return dict(counts.most_common())

    def details(self, limit: int) -> Iterator[PromptComparison]:
        """Yield the first of the changed prompts in full."""
        chosen = self.changed[:limit]
        ids = [one.prompt_id for one in chosen]
        first = self.a.outcomes(ids)
        second = self.b.outcomes(ids)
        for prompt_id in ids:
            yield compare_prompt(first[prompt_id], second[prompt_id])

    def count(
        self,
        name: str,
        is_true: Callable[[Measures], bool],
        prompts: Sequence[MeasuredPrompt] | None = None,
    ) -> CountFigure:
        """Count the prompts that something is true of, on both sides."""
        if prompts is None:
            prompts = self.prompts
        first = [is_true(one.a) for one in prompts]
        second = [is_true(one.b) for one in prompts]
        pairs = Counter(zip(first, second, strict=True))
        return CountFigure(
            name=name,
            n=len(prompts),
            a=sum(first),
            b=sum(second),
            gained=pairs[False, True],
            lost=pairs[True, False],
            difference=paired_shares(
                pairs[False, True], pairs[True, False], len(prompts)
            ),
        )

    def _coverage(self, policy: str) -> CountFigure:
        return self.count(policy, lambda one: policy in one.policies)

    def _score(self, metric: Metric) -> ScoreFigure:
        both = [one.common_scores(metric) for one in self.prompts]
        pairs = [pair for pair in both if pair is not None]
        first = [pair[0] for pair in pairs]
        second = [pair[1] for pair in pairs]
        return ScoreFigure(
            metric=metric,
            a=fmean(first) if first else None,
            b=fmean(second) if second else None,
            difference=self._difference(second, first),
            higher=sum(b > a for a, b in pairs),
            lower=sum(b < a for a, b in pairs),
        )

    def _amount(self, name: str, amount: Callable[[Measures], float]) -> AmountFigure:
        first = [amount(one.a) for one in self.prompts]
        second = [amount(one.b) for one in self.prompts]
        return AmountFigure(
            name=name,
            a=sum(first),
            b=sum(second),
            difference=self._difference(second, first),
        )

    def _difference(
        self, values: Sequence[float], against: Sequence[float]
    ) -> Estimate | None:
        return paired_difference(values, against, self.seed, self.resamples)


def compare(
    a: Side, b: Side, *, seed: int = 0, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two sides on the prompts that both have, a batch at a time.

    Raises:
        SetupError: they have no prompt in common, or a file cannot be read.
    """
    common = a.batch_of.keys() & b.batch_of.keys()
    if not common:
        raise SetupError(
            f"{a.name} ({len(a.batch_of):,} prompts) and {b.name} "
            f"({len(b.batch_of):,} prompts) have no prompt in common, so there is nothing "
            "to compare. Prompts are the same if their text is"
        )
    prompts: list[MeasuredPrompt] = []
    pairs: dict[tuple[str, str], None] = {}
    by_batch: dict[str, list[str]] = defaultdict(list)
    for prompt_id, batch in a.batch_of.items():
        if prompt_id in common:
            by_batch[batch].append(prompt_id)
    for batch, ids in by_batch.items():
        pairs |= dict.fromkeys((batch, b.batch_of[prompt_id]) for prompt_id in ids)
        prompts.extend(_measure_batch(a, b, batch, ids))
    compared = _without_strays(prompts)
    return Comparison(
        a=a,
        b=b,
        prompts=tuple(compared),
        only_a=len(a.batch_of) - len(common),
        only_b=len(b.batch_of) - len(common),
        simulated_left_out=len(prompts) - len(compared),
        recipes=recipe_differences(a, b, pairs),
        seed=seed,
        resamples=resamples,
    )


def _without_strays(prompts: Sequence[MeasuredPrompt]) -> list[MeasuredPrompt]:
    """Leave out simulated rows among those of a model: they never count as such."""
    has_real_a = any(one.a.models and not one.a.is_simulated for one in prompts)
    has_real_b = any(one.b.models and not one.b.is_simulated for one in prompts)
    kept = []
    for one in prompts:
        is_stray = (one.a.is_simulated and has_real_a) or (
            one.b.is_simulated and has_real_b
        )
        if not is_stray:
            kept.append(one)
    return kept


def _measure_batch(
    a: Side, b: Side, batch: str, ids: Sequence[str]
) -> Iterator[MeasuredPrompt]:
    first, second = a.outcomes(ids), b.outcomes(ids)
    training_a = a.training_kinds(batch)
    others = {b.batch_of[prompt_id] for prompt_id in ids}
    training_b = {other: b.training_kinds(other) for other in others}
    for prompt_id in ids:
        comparison = compare_prompt(first[prompt_id], second[prompt_id])
        own = training_b[b.batch_of[prompt_id]]
        yield MeasuredPrompt(
            prompt_id=prompt_id,
            a=measure(first[prompt_id], _kinds(training_a, prompt_id)),
            b=measure(second[prompt_id], _kinds(own, prompt_id)),
            changed=kinds_of_change(comparison),
        )


def _kinds(
    training: Mapping[str, frozenset[str]] | None, prompt_id: str
) -> frozenset[str] | None:
    if training is None:
        return None
    return training.get(prompt_id, frozenset())


def _has(measures: Measures, kind: str) -> bool:
    return measures.training is not None and kind in measures.training


def _rank(one: MeasuredPrompt) -> tuple[bool, bool, float, int, str]:
    """Order changed prompts: what came to another end, then refusals, then by change of score."""
    return (
        OUTCOME not in one.changed,
        "refusal" not in one.changed,
        -abs(one.score_change),
        -len(one.changed),
        one.prompt_id,
    )
