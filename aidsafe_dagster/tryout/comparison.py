"""Two results of the same prompts: what came out otherwise, and what is better or worse.

The results are of two tryouts, or of two versions of a lake.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from aidsafe_dagster.recipe.batch_recipe import TEMPLATE, StageRecipe
from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    RefinedCot,
    ThoughtVerdict,
)
from aidsafe_dagster.stages.one_recipe import StageComparison, merged_changes
from aidsafe_dagster.tryout.results import PromptOutcome

Recipes = Mapping[str, StageRecipe]
"""By stage, what its rows were made under."""


@dataclass(frozen=True)
class ChangedText:
    """A text that differs. Either side is empty where it does not exist."""

    title: str
    before: str
    after: str


@dataclass(frozen=True)
class ChangedValue:
    """A score, a verdict or the like that differs."""

    name: str
    before: str
    after: str
    reason: str = ""
    """Of the later one."""


@dataclass(frozen=True)
class PromptComparison:
    """One prompt before and after."""

    before: PromptOutcome
    after: PromptOutcome
    texts: tuple[ChangedText, ...]
    values: tuple[ChangedValue, ...]

    @property
    def is_same(self) -> bool:
        return not self.texts and not self.values


@dataclass(frozen=True)
class Balance:
    """One figure over all prompts that both sides have."""

    name: str
    before: float
    after: float
    is_better: bool | None
    """None: neither better nor worse by itself, or the same."""


def compare_prompt(before: PromptOutcome, after: PromptOutcome) -> PromptComparison:
    """Return what differs between two results of one prompt."""
    return PromptComparison(
        before,
        after,
        tuple(_changed_texts(before, after)),
        tuple(_changed_values(before, after)),
    )


def recipe_changes(before: Recipes, after: Recipes) -> tuple[str, ...]:
    """Return in words what differs between the recipes of the stages that both have."""
    comparisons = []
    for stage, recipe in after.items():
        if stage in before:
            comparison = StageComparison(
                stage=stage,
                rows=0,
                calls=0,
                earlier=before[stage].parts,
                present=recipe.parts,
            )
            comparisons.append(comparison)
    return merged_changes(comparisons)


def changed_templates(
    before: Recipes,
    after: Recipes,
    text_before: Callable[[str], str | None],
    text_after: Callable[[str], str | None],
) -> Iterator[ChangedText]:
    """Yield the templates that differ and that both sides have, where their texts were kept.

    Args:
        before: by stage.
        after: by stage.
        text_before: returns the text of a template by the value that a recipe has of it.
        text_after: the same of the other side.
    """
    olds, news = template_values(before), template_values(after)
    for name, value in news.items():
        old = olds.get(name, value)
        one, other = text_before(old), text_after(value)
        if old != value and one is not None and other is not None:
            yield ChangedText(f"template {name}", one, other)


def template_values(recipes: Recipes) -> dict[str, str]:
    """Return the value that recipes have of each template, by its name."""
    values = {}
    for recipe in recipes.values():
        for part in recipe.parts:
            if part.name == TEMPLATE:
                values[part.of] = part.value
    return values


def balance(
    pairs: Sequence[tuple[PromptOutcome, PromptOutcome]],
) -> tuple[Balance, ...]:
    """Return the figures of both sides, over the prompts that both have."""
    before = [one for one, _ in pairs]
    after = [other for _, other in pairs]
    figures = [
        _count("prompts that failed", before, after, lambda one: one.is_failed, -1),
        _count(
            "prompts that a gate would stop",
            before,
            after,
            lambda one: one.stopped_at is not None,
            -1,
        ),
        _count("with a preference pair", before, after, lambda one: bool(one.pair), 1),
        # Whether a refusal is due depends on the prompt.
        _count("responses that refuse", before, after, refuses, 0),
        _count("thoughts dropped", before, after, _dropped, 0),
    ]
    scored = [
        (one.grades.policy_score, other.grades.policy_score)
        for one, other in pairs
        if one.grades and other.grades
    ]
    if scored:
        figures.append(
            _figure(
                "mean policy score (1 to 5)",
                fmean(one for one, _ in scored),
                fmean(other for _, other in scored),
                1,
            )
        )
    margins = [
        (one.pair.margin, other.pair.margin)
        for one, other in pairs
        if one.pair and other.pair
    ]
    if margins:
        figures.append(
            _figure(
                "mean margin of the pairs",
                fmean(one for one, _ in margins),
                fmean(other for _, other in margins),
                1,
            )
        )
    return tuple(figures)


def _count(
    name: str,
    before: Sequence[PromptOutcome],
    after: Sequence[PromptOutcome],
    count: Callable[[PromptOutcome], int],
    sign: int,
) -> Balance:
    return _figure(name, sum(map(count, before)), sum(map(count, after)), sign)


def _figure(name: str, before: float, after: float, sign: int) -> Balance:
    """`sign`: 1 where more is better, -1 where less is, 0 where nobody can say."""
    is_better = None
    if sign and round(before, 4) != round(after, 4):
        is_better = (after - before) * sign > 0
    return Balance(name, before, after, is_better)


def refuses(tried: PromptOutcome) -> bool:
    """Tell whether a judge sees its response decline in full."""
    if tried.grades is None:
        return False
    refusals = [one.refusal for one in tried.grades.grades if one.version == "refined"]
    return "full" in refusals


def _dropped(tried: PromptOutcome) -> int:
    if tried.refined is None:
        return 0
    verdicts = [one.verdict for one in tried.refined.judgements]
    return len(verdicts) - verdicts.count(ThoughtVerdict.KEEP)


def _changed_texts(
    before: PromptOutcome, after: PromptOutcome
) -> Iterator[ChangedText]:
    old, new = before.refined, after.refined
    pairs = [
        ("intents", _intents(old), _intents(new)),
        *_thoughts_side_by_side(old, new),
        (
            "response",
            old.response if old else "",
            new.response if new else "",
        ),
        ("rejected response", _rejected(before), _rejected(after)),
    ]
    for title, one, other in pairs:
        if one.split() != other.split():
            yield ChangedText(title, one, other)


def _intents(row: RefinedCot | None) -> str:
    return "\n".join(one.text for one in row.intents) if row else ""


def _rejected(tried: PromptOutcome) -> str:
    return tried.pair.rejected_response if tried.pair else ""


def _thoughts_side_by_side(
    old: RefinedCot | None, new: RefinedCot | None
) -> Iterator[tuple[str, str, str]]:
    """Yield title and texts of the final thoughts and of those that were deliberated, by number."""
    kinds = (
        (
            "thought",
            {one.number: one.text for one in old.deliberated_thoughts} if old else {},
            {one.number: one.text for one in new.deliberated_thoughts} if new else {},
        ),
        (
            "final thought",
            {one.number: one.text for one in old.thoughts} if old else {},
            {one.number: one.text for one in new.thoughts} if new else {},
        ),
    )
    for title, olds, news in kinds:
        for number in sorted({*olds, *news}):
            yield f"{title} {number}", olds.get(number, ""), news.get(number, "")


def _changed_values(
    before: PromptOutcome, after: PromptOutcome
) -> Iterator[ChangedValue]:
    yield from _changed_outcomes(before, after)
    yield from _changed_verdicts(before.refined, after.refined)
    yield from _changed_scores(before.grades, after.grades)
    yield from _changed_pair(before, after)


def _changed_outcomes(
    before: PromptOutcome, after: PromptOutcome
) -> Iterator[ChangedValue]:
    stages = [*before.failures, *after.failures, *before.held_back, *after.held_back]
    for stage in dict.fromkeys(stages):
        old, _ = _outcome(before, stage)
        new, detail = _outcome(after, stage)
        if old != new:
            yield ChangedValue(stage, old, new, detail)


def _outcome(tried: PromptOutcome, stage: str) -> tuple[str, str]:
    """Return what became of a prompt at a stage, and the detail."""
    if stage in tried.failures:
        failure = tried.failures[stage]
        return f"failed ({failure.reason})", failure.detail
    if stage in tried.held_back:
        failure = tried.held_back[stage]
        return f"a run would hold it back ({failure.reason})", failure.detail
    return ("made" if stage in tried.rows else "not reached"), ""


def _changed_verdicts(
    old: RefinedCot | None, new: RefinedCot | None
) -> Iterator[ChangedValue]:
    olds = {one.thought: one for one in old.judgements} if old else {}
    news = {one.thought: one for one in new.judgements} if new else {}
    for number in sorted({*olds, *news}):
        one, other = olds.get(number), news.get(number)
        if one and other and one.verdict != other.verdict:
            yield ChangedValue(
                f"verdict on thought {number}",
                str(one.verdict),
                str(other.verdict),
                other.reason,
            )
        elif (one is None) != (other is None):
            present = one or other
            assert present is not None
            words = str(present.verdict)
            yield ChangedValue(
                f"verdict on thought {number}",
                words if one else "none",
                words if other else "none",
                present.reason if other else "",
            )


def _changed_scores(
    old: CotGrades | None, new: CotGrades | None
) -> Iterator[ChangedValue]:
    olds = (
        {one.judge: one for one in old.grades if one.version == "refined"}
        if old
        else {}
    )
    news = (
        {one.judge: one for one in new.grades if one.version == "refined"}
        if new
        else {}
    )
    for judge in [name for name in olds if name in news]:
        for metric in METRICS:
            before = getattr(olds[judge], metric)
            after = getattr(news[judge], metric)
            if before.score != after.score:
                yield ChangedValue(
                    f"{metric} ({judge})",
                    str(before.score),
                    str(after.score),
                    after.reason,
                )
        if olds[judge].refusal != news[judge].refusal:
            yield ChangedValue(
                f"refusal ({judge})", olds[judge].refusal, news[judge].refusal
            )
    if old and new and old.prompt_kind != new.prompt_kind:
        yield ChangedValue("kind of prompt", old.prompt_kind, new.prompt_kind)


def _changed_pair(
    before: PromptOutcome, after: PromptOutcome
) -> Iterator[ChangedValue]:
    old, new = before.pair, after.pair
    if old and new and old.margin != new.margin:
        yield ChangedValue(
            "margin of the pair", f"{old.margin:.2f}", f"{new.margin:.2f}"
        )
    if old and new and old.belief != new.belief:
        yield ChangedValue("belief", old.belief, new.belief)
