"""Intervals and ranges."""

import numpy as np
import pytest
from scipy.stats import binomtest

from igsearch.evaluation.statistics import Spread, bootstrap, interval, macro_interval, spread


def test_spread_is_the_mean_and_the_range_over_seeds() -> None:
    assert spread([0.5, 0.75, 0.25]) == Spread(0.5, 0.25, 0.75, 3)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (3, 10), (36, 125), (125, 125)])
def test_the_interval_of_zeros_and_ones_is_wilsons(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert interval([1.0] * right + [0.0] * (count - right)) == pytest.approx((expected.low, expected.high))


def test_the_bootstrap_is_seeded_and_close_to_the_normal_interval_on_many_values() -> None:
    values = list(np.random.default_rng(0).beta(2, 3, size=400))
    half = 1.96 * np.std(values, ddof=1) / 20
    assert interval(values, "nq") == interval(values, "nq")
    assert bootstrap(values, "nq") == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.005)


def test_the_interval_of_the_average_covers_it_in_95_of_100_worlds() -> None:
    draw, truth = np.random.default_rng(1), {"nq": (300, 0.7), "bamboogle": (125, 0.3)}
    covered = 0
    for _ in range(400):
        low, high = macro_interval({name: list(draw.random(n) < p) for name, (n, p) in truth.items()})
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / 400 <= 0.98
