"""Statistics for reports: every estimate carries its interval and its number of rows.

A figure that the rows do not determine (no rows, or a single one) is None and not a guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

LEVEL = 0.95
"""Confidence of every interval."""
RESAMPLES = 1000
# Values in a batch of resamples. Bounds the memory, and keeps a batch in the processor's cache.
_BATCH_VALUES = 500_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval."""

    value: float
    low: float | None
    """None if there is no interval, as for the mean of a single row."""
    high: float | None
    n: int
    """Number of rows behind the figure."""


@dataclass(frozen=True)
class WinRate:
    """Results of one side against another; a tie counts half."""

    wins: int
    ties: int
    losses: int
    rate: Estimate


def mean_interval(
    values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES
) -> Estimate | None:
    """Return the mean with a percentile bootstrap interval (Efron 1979); None without values.

    Equal values have an interval of zero width: the bootstrap knows only the rows it is given.
    """
    import numpy as np  # noqa: PLC0415 - half a second to import, needed only here
    from scipy.stats import bootstrap  # noqa: PLC0415

    if not len(values):
        return None
    mean = float(sum(values) / len(values))
    # One row says nothing about how much rows differ.
    if len(values) == 1:
        return Estimate(mean, None, None, 1)
    # The bootstrap is degenerate here, and SciPy would warn.
    if min(values) == max(values):
        return Estimate(mean, mean, mean, len(values))
    batch = max(1, _BATCH_VALUES // len(values))
    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=batch,
        confidence_level=LEVEL,
        # SciPy's default, BCa, is undefined on constant rows.
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Estimate(
        value=mean,
        low=float(interval.low),
        high=float(interval.high),
        n=len(values),
    )


def paired_difference(
    values: Sequence[float],
    against: Sequence[float],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """Return the mean of `values[i] - against[i]` with its bootstrap interval.

    Rows are resampled, and with each row both of its values.

    Raises:
        ValueError: the two sequences differ in length.
    """
    differences = []
    for one, other in zip(values, against, strict=True):
        differences.append(one - other)
    return mean_interval(differences, seed, resamples)


def proportion(count: float, n: int) -> Estimate | None:
    """Return a share with its Wilson (1927) score interval; None without rows.

    A `count` with a half, which comes from ties, gets the interval that spans those of the two
    nearest whole counts.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - see above

    if not n:
        return None
    # The test takes whole counts only. For a whole count, both sides are the same interval.
    below = binomtest(floor(count), n).proportion_ci(LEVEL, method="wilson")
    above = binomtest(ceil(count), n).proportion_ci(LEVEL, method="wilson")
    return Estimate(count / n, float(below.low), float(above.high), n)


def paired_shares(gained: int, lost: int, n: int) -> Estimate | None:
    """Return how far a share rises from one side to the other, on the same rows; None without rows.

    The interval is that of Bonett and Price (2012) for matched pairs. It has a width even where no
    row differs, since few rows do not prove that none would.

    Args:
        gained: rows of which something is true on the second side alone.
        lost: rows of which it is true on the first side alone.
        n: all rows.
    """
    from scipy.stats import norm  # noqa: PLC0415 - see above

    if not n:
        return None
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    middle = up - down
    spread = (up + down - middle**2) / (n + 2)
    half = float(norm.ppf((1 + LEVEL) / 2)) * spread**0.5
    return Estimate(
        value=(gained - lost) / n,
        low=max(-1.0, middle - half),
        high=min(1.0, middle + half),
        n=n,
    )


def win_rate(wins: int, ties: int, losses: int) -> WinRate | None:
    """Return the win rate with its interval; None without comparisons."""
    total = wins + ties + losses
    rate = proportion(wins + ties / 2, total)
    if rate is None:
        return None
    return WinRate(wins, ties, losses, rate)


def quadratic_kappa(one: Sequence[int], other: Sequence[int]) -> float | None:
    """Return Cohen's kappa with quadratic weights (Cohen 1968) of two judges' scores from 1 to 5.

    Both judges scored the same rows. Kappa is undefined, and None, without rows or if both judges
    gave every row the same score.

    Raises:
        ValueError: the two sequences differ in length.
    """
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415 - see above

    if len(one) != len(other):
        raise ValueError(f"{len(one)} scores against {len(other)}")
    # scikit-learn would divide by zero and return NaN.
    if len({*one, *other}) < 2:
        return None
    # All five scores as labels: a score that nobody gave must still count as a step.
    return float(
        cohen_kappa_score(one, other, weights="quadratic", labels=[1, 2, 3, 4, 5])
    )


def quantiles(values: Sequence[float], shares: Sequence[float]) -> list[float] | None:
    """Return the quantiles at these shares, linearly interpolated; None without values."""
    import numpy as np  # noqa: PLC0415 - see above

    if not len(values):
        return None
    return [float(quantile) for quantile in np.quantile(values, shares)]
