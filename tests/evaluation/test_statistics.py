"""Intervals and ranges."""

import numpy as np
import pytest
from scipy.stats import binomtest

from igsearch.evaluation.statistics import Spread, bootstrap, interval, level_interval, spread, weighted_interval


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
        groups = {name: (draw.random(n) < p).astype(float) for name, (n, p) in truth.items()}
        low, high = weighted_interval(groups, dict.fromkeys(groups, 0.5))
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_level_has_seeds_in_its_interval_from_three_on_and_stays_within_0_and_1() -> None:
    draw = np.random.default_rng(2)
    right_SQ = (draw.random((3, 200)) < np.array([[0.5], [0.6], [0.7]])).astype(float)
    widths = [
        high - low for low, high in (level_interval({"nq": right_SQ[:seeds]}, {"nq": 1.0}, "k") for seeds in (2, 3))
    ]
    assert widths[1] > 2 * widths[0]
    assert level_interval({"nq": np.array([[1.0] * 9 + [0.0], [1.0] * 10, [0.0] + [1.0] * 9])}, {"nq": 1.0})[1] == 1.0


def test_a_single_run_of_right_and_wrong_has_wilsons_interval() -> None:
    scores = {"nq": np.array([[1.0] * 36 + [0.0] * 89])}
    expected = binomtest(36, 125).proportion_ci(method="wilson")
    assert level_interval(scores, {"nq": 1.0}) == pytest.approx((expected.low, expected.high))
