"""What the tables say of a mean: its value, its range over seeds and a 95 % interval over questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import numpy as np

from igsearch.seeds import generator

Z95 = 1.959963984540054
RESAMPLES = 2000


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


def wilson(successes: float, count: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927); it stays within [0, 1] and is sensible at 0 and at 1."""
    share, z2 = successes / count, Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(values: Sequence[float], key: str = "") -> tuple[float, float]:
    """95 % percentile interval of the mean over resampled questions (2,000 resamples, seeded by `key`)."""
    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    # How often each distinct value occurs in a resample is multinomial: the same draw, without moving every question.
    resamples = generator("bootstrap", key).multinomial(len(values), counts / len(values), RESAMPLES)
    means = resamples @ distinct / len(values)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def interval(values: Sequence[float], key: str = "") -> tuple[float, float]:
    """95 % interval of the mean of per-question values: Wilson where all are 0 or 1, the bootstrap otherwise.

    It tells how far other questions of the same kind could move the mean, not how far other training seeds could.
    """
    if all(value in (0.0, 1.0) for value in values):
        return wilson(sum(values), len(values))
    return bootstrap(values, key)


def student(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of a few independent values, such as one per training seed (Student's t); None for one.

    Three values that differ make it more than four standard errors wide to each side: that is what three tell.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def macro_interval(groups: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """95 % interval of the unweighted mean of the groups' means, questions drawn within each group.

    Normal approximation: the variance of the macro average of B groups is the sum of s²/n over them, divided by B².
    """
    arrays = [np.asarray(values, dtype=float) for values in groups.values()]
    centre = fmean(float(array.mean()) for array in arrays)
    variance = sum(float(array.var(ddof=1)) / len(array) for array in arrays if len(array) > 1) / len(arrays) ** 2
    return centre - Z95 * sqrt(variance), centre + Z95 * sqrt(variance)
