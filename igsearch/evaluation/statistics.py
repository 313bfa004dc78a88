"""What the tables say of a method's mean: its value, its range over seeds and a 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import numpy as np

from igsearch.evaluation.referee import Scores, Weights, of_methods, resampled_means
from igsearch.seeds import generator

Interval = tuple[float, float]
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over seeds: the mean of the seeds' values, the lowest and the highest of them, and how many."""

    mean: float
    low: float
    high: float
    seeds: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and range over seeds. Raises ValueError where there is none."""
    return Spread(fmean(values), min(values), max(values), len(values))


def wilson(successes: float, count: int) -> Interval:
    """95 % score interval of a proportion (Wilson 1927); it stays within [0, 1] and is sensible at 0 and at 1."""
    share, z2 = successes / count, Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(values: Sequence[float], key: str = "") -> Interval:
    """95 % percentile interval of the mean over resampled questions (`referee.RESAMPLES`, seeded by `key`)."""
    means_R = resampled_means(np.asarray(values, dtype=float), generator("bootstrap", key))
    low, high = np.quantile(means_R, [0.025, 0.975])
    return float(low), float(high)


def interval(values: Sequence[float], key: str = "") -> Interval:
    """95 % interval of the mean of per-question values: Wilson where all are 0 or 1, the bootstrap otherwise.

    It tells how far other questions of the same kind could move the mean, not how far other training seeds could.
    """
    if all(value in (0.0, 1.0) for value in values):
        return wilson(sum(values), len(values))
    return bootstrap(values, key)


def weighted_interval(groups: Scores, weights: Weights) -> Interval:
    """95 % interval of a weighted sum of the groups' means, questions drawn within each group; values (Q,) by group.

    Normal approximation: the variance is the sum of w² s²/n over the groups.
    """
    centre = sum(weight * float(groups[name].mean()) for name, weight in weights.items())
    single = {name: groups[name].var(ddof=1) / len(groups[name]) for name in weights if len(groups[name]) > 1}
    half = Z95 * sqrt(sum(weights[name] ** 2 * float(variance) for name, variance in single.items()))
    return centre - half, centre + half


def level_interval(scores: Scores, weights: Weights, key: str = "") -> Interval:
    """95 % interval of a method's own figure, not of a difference; scores in [0, 1], (S, Q) by benchmark.

    Over seeds and questions where `referee.of_methods` has such an interval, and never narrower than over questions.
    """
    means = {name: scores[name].mean(axis=0) for name in weights}
    alone = next(iter(means.values())).tolist() if len(means) == 1 else None
    low, high = interval(alone, key) if alone else weighted_interval(means, weights)
    if methods := of_methods(scores, weights):
        low, high = min(low, methods.low), max(high, methods.high)
    return max(0.0, low), min(1.0, high)
