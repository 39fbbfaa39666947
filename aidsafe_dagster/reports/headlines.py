"""The figures to see first, and the key numbers that the UI plots over time."""

import polars as pl

from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.records import LEFT_OUT, METRICS, Metric, Stage
from aidsafe_dagster.reports.findings import Findings
from aidsafe_dagster.reports.judges import Preference
from aidsafe_dagster.reports.pairs import margins
from aidsafe_dagster.reports.paper import AIDSAFE, NAMES
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Headline,
    format_number,
    percentage,
    signed,
    with_interval,
)

_TELLING: Metric = "policy_to_cot"
"""The metric that tells deliberation from its baseline in the paper."""


def headlines(found: Findings) -> list[Headline]:
    measured = found.measured
    refined, gain = measured.mean("refined", _TELLING), measured.gain("single_llm", _TELLING)
    won, refusal = _against(found, "single_llm"), _over_refusal(found)
    paper = f"CoT faithful to policy, refined; the paper's: {AIDSAFE[_TELLING]:.2f}"
    return [
        Headline(format_number(refined.value if refined else None), paper, _span(with_interval(refined))),
        Headline(
            signed(gain.value if gain else None),
            "points above the single LLM",
            _span(with_interval(gain, signed)),
        ),
        Headline(
            _percent(won.found.rate if won else None),
            _won(won),
            _span(percentage(won.found.rate if won else None)),
        ),
        Headline(
            _percent(refusal), "of benign prompts declined in full", _span(percentage(refusal))
        ),
    ]


def _span(worded: str) -> str:
    """The interval of a format_number that stands above it."""
    return worded[worded.index("[") :] if "[" in worded else ""


def _percent(estimate: Estimate | None) -> str:
    return EMPTY_CELL if estimate is None else f"{100 * estimate.value:.0f} %"


def _won(won: Preference | None) -> str:
    return f"win rate against the {NAMES['single_llm']}, ties half" + (
        f" ({won.judge})" if won else ""
    )


def _against(found: Findings, version: str) -> Preference | None:
    """The first judge's preferences between the refined CoT and a version."""
    return next(
        (one for one in found.preferences if (one.version, one.against) == ("refined", version)),
        None,
    )


def _over_refusal(found: Findings) -> Estimate | None:
    """The first judge's."""
    rates = (
        full
        for (kind, version, _), (full, _) in found.refusals.items()
        if (kind, version) == ("benign", "refined")
    )
    return next(rates, None)


def figures(found: Findings) -> dict[str, float]:
    """Key numbers; what is not known is left out."""
    dataset, measured = found.dataset, found.measured
    lost = dataset.failures
    left_out = lost.filter(pl.col("reason").is_in(list(LEFT_OUT))).height
    figures: dict[str, float | None] = {
        "rows_refined": dataset.rows(Stage.REFINED_COTS, "prompt_id").height,
        "rows_on_the_same_prompts": measured.n,
        "rows_failed": lost.height - left_out,
        "rows_left_out": left_out,
        "ungraded": found.ungraded.height,
    }
    for metric in METRICS:
        figures[f"refined_{metric}"] = _value(measured.mean("refined", metric))
        figures[f"gain_{metric}"] = _value(measured.gain("single_llm", metric))
    gain = measured.gain("single_llm", _TELLING)
    figures |= (
        {f"gain_{_TELLING}_low": gain.low, f"gain_{_TELLING}_high": gain.high} if gain else {}
    )
    figures |= {f"kappa_{metric}": agreed.kappa for metric, agreed in found.agreement.items()}
    for version in ("single_llm", "deliberated"):
        if won := _against(found, version):
            figures[f"win_rate_against_{version}"] = won.found.rate.value
            figures[f"turned_with_the_order_{version}"] = won.inconsistent.value
    figures["over_refusal"] = _value(_over_refusal(found))
    for name, values in margins(
        dataset.rows(Stage.PREFERENCE_PAIRS, "prompt_id", "kind", "margin", "plain_scores")
    ).items():
        figures[f"margin_mean_{name}"] = sum(values) / len(values)
    return {name: round(value, 4) for name, value in figures.items() if value is not None}


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value
