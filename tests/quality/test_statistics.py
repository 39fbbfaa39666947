import random
from math import sqrt

import pytest

from aidsafe_dagster.quality.statistics import (
    Estimate,
    mean_interval,
    paired_difference,
    paired_shares,
    proportion,
    quadratic_kappa,
    quantiles,
    win_rate,
)


def test_the_interval_of_a_mean_approaches_the_normal_one_with_many_rows() -> None:
    estimate = mean_interval([1.0, 5.0] * 200)
    assert estimate is not None
    half = 1.96 * 2 / sqrt(400)
    assert estimate.value == 3
    assert estimate.n == 400
    assert estimate.low == pytest.approx(3 - half, abs=0.03)
    assert estimate.high == pytest.approx(3 + half, abs=0.03)


def test_nineteen_in_twenty_intervals_cover_the_true_mean() -> None:
    generator, covered = random.Random(7), 0
    for seed in range(200):
        values = generator.choices([3, 4, 5], [0.1, 0.3, 0.6], k=80)
        estimate = mean_interval(values, seed, resamples=300)
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 4.5 <= estimate.high
    assert 180 <= covered <= 198


def test_the_same_seed_gives_the_same_interval_and_another_a_similar_one() -> None:
    values = [1.0, 2.0, 4.0, 5.0, 5.0] * 8
    one, again, other = (
        mean_interval(values, 1),
        mean_interval(values, 1),
        mean_interval(values, 2),
    )
    assert one == again != other
    assert one is not None
    assert other is not None
    assert one.low == pytest.approx(other.low, abs=0.1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([4], Estimate(4, None, None, 1)), ([5, 5, 5], Estimate(5, 5, 5, 3))],
)
def test_a_mean_of_few_or_equal_rows_has_no_wider_interval_than_they_support(
    values: list[float], expected: Estimate | None
) -> None:
    assert mean_interval(values) == expected


def test_what_the_rows_share_does_not_widen_a_paired_difference() -> None:
    before = [float(n % 5) for n in range(50)]
    gained = [value + (0.5 if n % 2 else 0.7) for n, value in enumerate(before)]
    estimate, alone = paired_difference(gained, before), mean_interval(gained)
    assert estimate is not None
    assert alone is not None
    assert estimate.value == pytest.approx(0.6)
    assert 0.56 < (estimate.low or 0) < 0.6 < (estimate.high or 0) < 0.64
    assert (alone.high or 0) - (alone.low or 0) > 0.6


def test_a_difference_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_difference([1, 2], [1])


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0, 0.2775),
        (10, 10, 0.7225, 1),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_a_share_has_a_wilson_interval(
    count: int, n: int, low: float, high: float
) -> None:
    estimate = proportion(count, n)
    assert estimate is not None
    assert estimate.value == count / n
    assert estimate.low == pytest.approx(low, abs=1e-4)
    assert estimate.high == pytest.approx(high, abs=1e-4)


def test_ties_count_half_and_half_counts_span_the_neighbouring_intervals() -> None:
    estimate, below, above = win_rate(5, 3, 2), proportion(6, 10), proportion(7, 10)
    assert estimate is not None
    assert below is not None
    assert above is not None
    assert (estimate.wins, estimate.ties, estimate.losses) == (5, 3, 2)
    assert estimate.rate == Estimate(0.65, below.low, above.high, 10)


def test_without_rows_there_is_no_share_no_win_rate_and_no_quantile() -> None:
    assert proportion(0, 0) is None
    assert win_rate(0, 0, 0) is None
    assert quantiles([], (0.5,)) is None


def kappa_by_hand(one: list[int], other: list[int]) -> float:
    """1 - observed / expected disagreement, each the mean squared distance over all pairs."""
    observed = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / len(one)
    expected = sum((a - b) ** 2 for a in one for b in other) / len(one) ** 2
    return 1 - observed / expected


@pytest.mark.parametrize(
    ("one", "other", "kappa"),
    [
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], 1.0),
        # Two of ten differ; by chance it would be five.
        ([1] * 5 + [5] * 5, [1] * 4 + [5] + [5] * 4 + [1], 0.6),
        ([4, 4, 5, 5], [4, 5, 4, 5], 0.0),
        ([1, 5], [5, 1], -1.0),
        # One judge always gives a five.
        ([5, 5, 5, 4], [5, 5, 5, 5], 0.0),
    ],
)
def test_kappa_equals_the_value_computed_by_hand(
    one: list[int], other: list[int], kappa: float
) -> None:
    assert kappa_by_hand(one, other) == pytest.approx(kappa)
    assert quadratic_kappa(one, other) == pytest.approx(kappa)


def test_kappa_equals_the_value_by_hand_for_random_scores() -> None:
    generator = random.Random(3)
    one = [generator.randint(1, 5) for _ in range(200)]
    other = [max(1, min(5, score + generator.choice([-1, 0, 0, 1]))) for score in one]
    assert quadratic_kappa(one, other) == pytest.approx(kappa_by_hand(one, other))


def test_kappa_is_undefined_without_variation() -> None:
    assert quadratic_kappa([], []) is None
    assert quadratic_kappa([5, 5, 5], [5, 5, 5]) is None
    with pytest.raises(ValueError, match="1 scores against 2"):
        quadratic_kappa([1], [1, 2])


def test_quantiles_are_interpolated() -> None:
    assert quantiles([4, 1, 2, 3], (0, 0.5, 0.75, 1)) == [1, 2.5, 3.25, 4]


def test_the_difference_of_paired_shares_has_an_interval_even_without_a_change() -> (
    None
):
    few, many = paired_shares(0, 0, 5), paired_shares(0, 0, 500)
    assert few is not None
    assert many is not None
    assert few.value == many.value == 0
    assert few.low is not None
    assert many.low is not None
    assert few.low < many.low < 0
    assert paired_shares(0, 0, 0) is None


def test_nineteen_in_twenty_intervals_of_paired_shares_cover_the_true_difference() -> (
    None
):
    generator, covered = random.Random(3), 0
    for _ in range(400):
        pairs = generator.choices(["gained", "lost", "same"], [0.2, 0.05, 0.75], k=60)
        estimate = paired_shares(pairs.count("gained"), pairs.count("lost"), 60)
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0.15 <= estimate.high
    assert 0.92 <= covered / 400 <= 0.99
