"""What is measured on one prompt on one side, small enough to keep for every prompt of a lake."""

from collections.abc import Mapping
from dataclasses import dataclass

from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    METRICS,
    CotRow,
    Failure,
    Grade,
    Metric,
    PromptKind,
    Stage,
    Usage,
)
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.tryout.comparison import PromptComparison
from aidsafe_dagster.tryout.results import PromptOutcome

POLICY_METRICS: tuple[Metric, ...] = ("policy_to_cot", "policy_to_response")


@dataclass(frozen=True)
class Measures:
    """One prompt on one side."""

    is_made: bool
    """It came to a final chain of thought and a response."""
    failure: str
    """Stage and reason for which it did not; empty if it did, or is not there yet."""
    no_pair: str
    """Reason for which it has no preference pair; empty if it has one, or is not there yet."""
    kind: PromptKind | None
    """None: not graded."""
    scores: Mapping[str, Mapping[Metric, int]]
    """Of the refined chain of thought, by judge."""
    judges: frozenset[str]
    """Judge and model."""
    refusal: str
    """The furthest that a judge sees it decline: 'none', 'partial', 'full'; empty: not graded."""
    policies: frozenset[str]
    """That the final thoughts cite."""
    margin: float | None
    """Of its pair; None without one."""
    training: frozenset[str] | None
    """Kinds of its training rows; None where no splits were made."""
    cot_tokens: int | None
    usage: Usage
    usage_by_stage: Mapping[str, Usage]
    models: frozenset[str]
    is_simulated: bool


@dataclass(frozen=True)
class MeasuredPrompt:
    """A prompt that both sides have."""

    prompt_id: str
    a: Measures
    b: Measures
    changed: tuple[str, ...]
    """What came out otherwise, in words, such as 'response'; empty if nothing did."""

    @property
    def has_graded_pair(self) -> bool:
        return bool(self.a.refusal and self.b.refusal)

    @property
    def kind(self) -> PromptKind | None:
        """As it was graded on the first side, or else on the second."""
        return self.a.kind or self.b.kind

    def common_scores(self, metric: Metric) -> tuple[float, float] | None:
        """Return the means over the judges that scored it on both sides; None without any."""
        judges = self.a.scores.keys() & self.b.scores.keys()
        if not judges:
            return None
        first = sum(self.a.scores[judge][metric] for judge in judges)
        second = sum(self.b.scores[judge][metric] for judge in judges)
        return first / len(judges), second / len(judges)

    @property
    def score_change(self) -> float:
        """Of the mean of the two policy scores; 0 where a side has none."""
        change = 0.0
        for metric in POLICY_METRICS:
            scores = self.common_scores(metric)
            if scores:
                change += (scores[1] - scores[0]) / len(POLICY_METRICS)
        return change


def measure(outcome: PromptOutcome, training: frozenset[str] | None) -> Measures:
    """Measure what became of a prompt.

    Args:
        outcome: what became of it.
        training: kinds of its training rows; None where no splits were made.
    """
    refined, grades, pair = outcome.refined, outcome.grades, outcome.pair
    own: list[Grade] = []
    if grades:
        own = [grade for grade in grades.grades if grade.version == "refined"]
    cited: set[str] = set()
    if refined:
        for thought in refined.thoughts:
            cited.update(rule.partition(".")[0] for rule in thought.rules)
    usage_by_stage = {name: row.usage for name, row in outcome.rows.items()}
    usage_by_stage |= {name: one.usage for name, one in outcome.failures.items()}
    return Measures(
        is_made=refined is not None,
        failure="" if refined else _failure(outcome),
        no_pair=_reason(outcome.failures.get(Stage.PREFERENCE_PAIRS)),
        kind=grades.prompt_kind if grades else None,
        scores={grade.judge: _scores(grade) for grade in own},
        judges=frozenset(f"{grade.judge}: {grade.model}" for grade in own),
        refusal=_furthest_refusal(own),
        policies=frozenset(cited),
        margin=pair.margin if pair else None,
        training=training,
        cot_tokens=refined.cot_tokens if refined else None,
        usage=outcome.usage,
        usage_by_stage=usage_by_stage,
        models=frozenset(
            row.model for row in outcome.rows.values() if isinstance(row, CotRow)
        ),
        is_simulated=outcome.is_simulated,
    )


def kinds_of_change(comparison: PromptComparison) -> tuple[str, ...]:
    """Return in words what came out otherwise, each thing once, the most telling first."""
    titles = [text.title for text in comparison.texts]
    titles += [value.name for value in comparison.values]
    kinds = {_kind(title) for title in titles}
    return tuple(kind for kind in _ORDER if kind in kinds)


def _scores(grade: Grade) -> Mapping[Metric, int]:
    return {metric: getattr(grade, metric).score for metric in METRICS}


def _furthest_refusal(grades: list[Grade]) -> str:
    levels = {grade.refusal for grade in grades}
    for level in ("full", "partial", "none"):
        if level in levels:
            return level
    return ""


def _failure(outcome: PromptOutcome) -> str:
    """Return the first failure on the way to the response; the baseline is not on it."""
    for stage, failure in outcome.failures.items():
        if not stage_named(stage).is_baseline:
            return f"{stage}: {failure.reason}"
    return ""


def _reason(failure: Failure | None) -> str:
    if failure is None:
        return ""
    kind = "left out" if failure.reason in EXCLUSION_REASONS else "failed"
    return f"{kind}: {failure.reason}"


OUTCOME = "outcome"
_ORDER = (
    OUTCOME,
    "refusal",
    "response",
    "scores",
    "final thoughts",
    "verdicts",
    "thoughts",
    "intents",
    "kind of prompt",
    "pair",
    "baseline",
)


def _kind(title: str) -> str:
    """Return the kind of a changed text or value, by its title in `tryout/comparison.py`."""
    for start, kind in (
        ("final thought", "final thoughts"),
        ("thought", "thoughts"),
        ("verdict", "verdicts"),
        ("refusal", "refusal"),
        ("rejected response", "pair"),
        ("margin", "pair"),
        ("belief", "pair"),
        ("relevance", "scores"),
        ("coherence", "scores"),
        ("completeness", "scores"),
        ("policy_to", "scores"),
        ("response_to", "scores"),
        (Stage.COT_GRADES, "scores"),
        (Stage.PREFERENCE_PAIRS, "pair"),
        (Stage.SINGLE_LLM_COTS, "baseline"),
    ):
        if title.startswith(start):
            return kind
    return title if title in _ORDER else OUTCOME
