"""How many questions and seeds would show a difference in exact match between two methods, and which ones would not.

One run of each method answers the same n questions of a benchmark, right with probability p and p + d; the outcomes of
both on one question correlate by rho. The difference then varies over questions by

    v = p(1-p) + q(1-q) - 2 rho sqrt(p(1-p) q(1-q)),  q = p + d,  and never by less than d(1-d),

which is reached where no question is lost. The macro average of B benchmarks has the variance sum(v/n)/B². A seed adds
its own: 2 s² for the difference of two methods whose true figures vary over seeds by s. Over S seeds, paired, both
shrink by S: it is assumed that two seeds of one method agree no more than two methods do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt

from igsearch.evaluation.referee import MIN_SEEDS
from igsearch.records import BENCHMARKS

TEST_SIZES = dict(zip(BENCHMARKS, (3610, 11313, 14267, 7405, 12576, 2417, 125), strict=True))
"""Questions of the test sets that papers report on: 51,713 in all (FlashRAG_datasets, arXiv:2405.13576)."""

RHOS = (0.0, 0.3, 0.5, 0.7)
MOST = 100_000
"""Seeds beyond which it is not worth counting."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a comparison: to show a difference with probability `power`, two-sided at level `alpha`."""

    power: float = 0.8
    alpha: float = 0.05

    @property
    def reach(self) -> float:
        """The difference that shows, in standard errors, where these are known: 2.80 at the defaults."""
        from scipy.stats import norm

        return float(norm.isf(self.alpha / 2) + norm.ppf(self.power))


@dataclass(frozen=True)
class Setting:
    """Benchmarks with the first method's share of right answers, their sizes and rho; its figure is the macro average
    of all of them (of a single one: that one)."""

    shares: Mapping[str, float]
    sizes: Mapping[str, int]
    rho: Mapping[str, float]

    def only(self, name: str) -> "Setting":
        """The same with one benchmark alone."""
        return replace(self, shares={name: self.shares[name]})

    def noise(self, difference: float) -> float:
        """Variance over questions of the difference of two runs, were it this one in every benchmark."""
        of = [pair_variance(p, difference, self.rho[name]) / self.sizes[name] for name, p in self.shares.items()]
        return sum(of) / len(of) ** 2

    @property
    def room(self) -> float:
        """The largest difference for which no share exceeds 1."""
        return 1 - max(self.shares.values()) - 1e-9


def pair_variance(share: float, difference: float, rho: float) -> float:
    """Variance over questions of the difference of two outcomes of 0 or 1, in squared shares (see the module)."""
    other = share + difference
    one, two = share * (1 - share), other * (1 - other)
    return max(one + two - 2 * rho * sqrt(one * two), difference * (1 - difference))


def uniform(rho: float) -> dict[str, float]:
    """One rho for every benchmark."""
    return dict.fromkeys(BENCHMARKS, rho)


def questions_needed(setting: Setting, difference: float, demand: Demand) -> dict[str, int]:
    """For each benchmark by itself: its questions that would show the difference, one run each."""
    variances = {name: pair_variance(p, difference, setting.rho[name]) for name, p in setting.shares.items()}
    return {name: ceil(of * (demand.reach / difference) ** 2) for name, of in variances.items()}


def times_needed(setting: Setting, difference: float, demand: Demand) -> float:
    """How many times all sizes would have to be larger for the figure to show the difference, one run each."""
    return setting.noise(difference) * (demand.reach / difference) ** 2


def grown_alone(setting: Setting, name: str, difference: float, demand: Demand) -> float:
    """The questions that one benchmark would need for the figure to show the difference while the others keep theirs;
    infinite where the others' noise alone is too much."""
    variance = pair_variance(setting.shares[name], difference, setting.rho[name]) / len(setting.shares) ** 2
    rest = setting.noise(difference) - variance / setting.sizes[name]
    left = (difference / demand.reach) ** 2 - rest
    return ceil(variance / left) if left > 0 else inf


def power_of(difference: float, variance: float, seeds: int, alpha: float) -> float:
    """The chance that a paired t test over seeds shows a difference; variance: of one seed's difference. One seed: z
    test, as if the variance were known."""
    from scipy.stats import f, ncf, norm

    distance = difference / sqrt(variance / seeds) if variance else inf
    if seeds == 1:
        bound = norm.isf(alpha / 2)
        return float(norm.sf(bound - distance) + norm.cdf(-bound - distance))
    if distance == inf:
        return 1.0
    # t² is F(1, seeds - 1): both tails in one
    return float(ncf.sf(f.isf(alpha, 1, seeds - 1), 1, seeds - 1, distance**2))


def detectable(setting: Setting, demand: Demand, seeds: int = 1, seed_sd: float = 0.0) -> float | None:
    """The smallest difference of the figure that shows with `seeds` of each method; None where there is no room for
    it. seed_sd: of the true figure over seeds, a share."""
    return _smallest(lambda d: _power(setting, d, seeds, seed_sd, demand) - demand.power, setting.room)


def _power(setting: Setting, difference: float, seeds: int, seed_sd: float, demand: Demand) -> float:
    return power_of(difference, setting.noise(difference) + 2 * seed_sd**2, seeds, demand.alpha)


def _smallest(excess: Callable[[float], float], room: float) -> float | None:
    from scipy.optimize import brentq

    least = 1e-9
    return float(brentq(excess, least, room, xtol=1e-7)) if room > least and excess(room) > 0 else None


def seeds_needed(setting: Setting, difference: float, seed_sd: float, demand: Demand) -> int | None:
    """The seeds of each method, at least MIN_SEEDS, with which the figure shows the difference; None beyond MOST."""

    def shows(seeds: int) -> bool:
        return _power(setting, difference, seeds, seed_sd, demand) >= demand.power

    high = MIN_SEEDS
    while not shows(high):
        high *= 2
        if high > MOST:
            return None
    low = max(MIN_SEEDS, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return high
