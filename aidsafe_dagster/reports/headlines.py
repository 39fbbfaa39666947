"""The figures at the top of the report, and the key numbers that the UI plots over time."""

import polars as pl

from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    METRICS,
    Metric,
    Stage,
    Version,
)
from aidsafe_dagster.reports.analysis import DatasetAnalysis
from aidsafe_dagster.reports.judges import Preference
from aidsafe_dagster.reports.pairs import MARGIN_COLUMNS, collect_margins
from aidsafe_dagster.reports.paper import AIDSAFE, VERSION_NAMES
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Headline,
    format_estimate,
    format_number,
    format_percentage,
    format_signed,
)

_KEY_METRIC: Metric = "policy_to_cot"
"""The metric on which deliberation differs from its baseline in the paper."""


def build_headlines(analysis: DatasetAnalysis) -> list[Headline]:
    refined = analysis.scores.mean("refined", _KEY_METRIC)
    gain = analysis.scores.gain("single_llm", _KEY_METRIC)
    preference = _preference_over(analysis, "single_llm")
    win_rate = preference.outcomes.rate if preference else None
    judge = f" ({preference.judge})" if preference else ""
    over_refusal = _over_refusal(analysis)
    return [
        Headline(
            value=format_number(_value(refined)),
            label=f"CoT faithful to policy, refined (paper: {AIDSAFE[_KEY_METRIC]:.2f})",
            detail=_interval_of(format_estimate(refined)),
        ),
        Headline(
            value=format_signed(_value(gain)),
            label=f"points above the {VERSION_NAMES['single_llm']}",
            detail=_interval_of(format_estimate(gain, format_signed)),
        ),
        Headline(
            value=_whole_percent(win_rate),
            label=f"win rate against the {VERSION_NAMES['single_llm']}, ties half{judge}",
            detail=_interval_of(format_percentage(win_rate)),
        ),
        Headline(
            value=_whole_percent(over_refusal),
            label="of benign prompts declined in full",
            detail=_interval_of(format_percentage(over_refusal)),
        ),
    ]


def _interval_of(text: str) -> str:
    """Return only the interval of a formatted estimate, such as `[4.12, 4.40]`."""
    # The value itself stands above the interval, in a larger font.
    _, bracket, interval = text.partition("[")
    return bracket + interval


def _whole_percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return EMPTY_CELL
    return f"{100 * estimate.value:.0f} %"


def _preference_over(analysis: DatasetAnalysis, version: Version) -> Preference | None:
    """Return the first judge's preferences between the refined CoT and a version."""
    for preference in analysis.preferences:
        if (preference.version, preference.against) == ("refined", version):
            return preference
    return None


def _over_refusal(analysis: DatasetAnalysis) -> Estimate | None:
    """Return the share of benign prompts that the refined response declines, by the first judge."""
    for (kind, version, _), rate in analysis.refusals.items():
        if (kind, version) == ("benign", "refined"):
            return rate.full
    return None


def key_figures(analysis: DatasetAnalysis) -> dict[str, float]:
    """Return the key numbers by name. Numbers that cannot be computed are left out."""
    dataset, scores = analysis.dataset, analysis.scores
    failures = dataset.failures
    # Sound rows that are left out are stored with the failures, but did not fail.
    is_left_out = pl.col("reason").is_in(list(EXCLUSION_REASONS))
    left_out = failures.filter(is_left_out).height
    figures: dict[str, float | None] = {
        "rows_refined": dataset.rows(Stage.REFINED_COTS, "prompt_id").height,
        "rows_on_the_same_prompts": scores.n,
        "rows_failed": failures.height - left_out,
        "rows_left_out": left_out,
        "ungraded": analysis.ungraded.height,
    }
    for metric in METRICS:
        mean = scores.mean("refined", metric)
        metric_gain = scores.gain("single_llm", metric)
        figures[f"refined_{metric}"] = _value(mean)
        figures[f"gain_{metric}"] = _value(metric_gain)
    # One gain has its interval in the UI too, the one that the paper is about.
    gain = scores.gain("single_llm", _KEY_METRIC)
    if gain:
        figures[f"gain_{_KEY_METRIC}_low"] = gain.low
        figures[f"gain_{_KEY_METRIC}_high"] = gain.high
    for metric, agreement in analysis.agreement.items():
        figures[f"kappa_{metric}"] = agreement.kappa
    versions: tuple[Version, ...] = ("single_llm", "deliberated")
    for version in versions:
        preference = _preference_over(analysis, version)
        if preference:
            win_rate = preference.outcomes.rate
            figures[f"win_rate_against_{version}"] = win_rate.value
            figures[f"turned_with_the_order_{version}"] = preference.inconsistent.value
    figures["over_refusal"] = _value(_over_refusal(analysis))
    pairs = dataset.rows(Stage.PREFERENCE_PAIRS, *MARGIN_COLUMNS)
    for name, margins in collect_margins(pairs).items():
        figures[f"margin_mean_{name}"] = sum(margins) / len(margins)
    # Dagster plots numbers only. A gap in the curve shows where one could not be computed.
    known_figures = {}
    for name, value in figures.items():
        if value is not None:
            known_figures[name] = round(value, 4)
    return known_figures


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value
