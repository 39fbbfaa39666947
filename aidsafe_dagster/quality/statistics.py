"""Statistics of a report: every estimate carries its interval and the number of rows it rests on.

Where a figure cannot be told from the rows there are (none, or a single one), it is None and not a
guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

LEVEL = 0.95
"""Confidence of every interval."""
RESAMPLES = 1000
_DRAWN_AT_ONCE = (
    500_000  # values of a batch of resamples: bounds the memory, and stays in the processor's cache
)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval."""

    value: float
    low: float | None
    """None where no interval can be told: a mean of a single row."""
    high: float | None
    n: int
    """Rows it rests on."""


@dataclass(frozen=True)
class WinRate:
    """How one side fares against another; a tie counts half."""

    wins: int
    ties: int
    losses: int
    rate: Estimate


def mean_interval(
    values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES
) -> Estimate | None:
    """Mean with a percentile bootstrap interval (Efron 1979); None without values.

    Rows that are all equal have an interval of no width: the bootstrap knows nothing of rows it has
    not seen.
    """
    import numpy as np  # noqa: PLC0415 - half a second to import, needed only here
    from scipy.stats import bootstrap  # noqa: PLC0415

    if not len(values):
        return None
    mean = float(sum(values) / len(values))
    if len(values) == 1:
        return Estimate(mean, None, None, 1)
    if min(values) == max(values):
        return Estimate(mean, mean, mean, len(values))
    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _DRAWN_AT_ONCE // len(values)),
        confidence_level=LEVEL,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), len(values))


def paired_difference(
    values: Sequence[float], against: Sequence[float], seed: int = 0, resamples: int = RESAMPLES
) -> Estimate | None:
    """Mean of `values[i] - against[i]` with its bootstrap interval: the rows are drawn, and both
    sides with them.

    Raises:
        ValueError: the two are not of the same length.
    """
    return mean_interval(
        [one - other for one, other in zip(values, against, strict=True)], seed, resamples
    )


def proportion(count: float, n: int) -> Estimate | None:
    """A share with its Wilson (1927) score interval; None without rows.

    A `count` with a half, as ties make it, gets the span of the intervals of the whole counts on
    either side.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - see above

    if not n:
        return None
    low = binomtest(floor(count), n).proportion_ci(LEVEL, method="wilson").low
    high = binomtest(ceil(count), n).proportion_ci(LEVEL, method="wilson").high
    return Estimate(count / n, float(low), float(high), n)


def win_rate(wins: int, ties: int, losses: int) -> WinRate | None:
    """None without comparisons."""
    rate = proportion(wins + ties / 2, wins + ties + losses)
    return WinRate(wins, ties, losses, rate) if rate else None


def quadratic_kappa(one: Sequence[int], other: Sequence[int]) -> float | None:
    """Cohen's kappa with quadratic weights (Cohen 1968) of two judges' scores from 1 to 5 on the
    same rows.

    None where it is undefined: no rows, or both judges gave every row one and the same score.

    Raises:
        ValueError: the two are not of the same length.
    """
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415 - see above

    if len(one) != len(other):
        raise ValueError(f"{len(one)} scores against {len(other)}")
    if len({*one, *other}) < 2:
        return None
    return float(cohen_kappa_score(one, other, weights="quadratic", labels=[1, 2, 3, 4, 5]))


def quantiles(values: Sequence[float], shares: Sequence[float]) -> list[float] | None:
    """The values below which these shares of all lie, between neighbours by line; None without
    values.
    """
    import numpy as np  # noqa: PLC0415 - see above

    return [float(found) for found in np.quantile(values, shares)] if len(values) else None
