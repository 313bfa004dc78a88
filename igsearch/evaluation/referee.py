"""What a difference between two methods is worth: its interval, its p value, and a verdict that may be a tie.

Scores are one array a benchmark, shaped (S, Q): what each of S trained models (seeds) got on each of Q questions; of a
pair of methods, the differences. A figure is a weighted sum of the benchmarks' means: of one benchmark, of all of them
alike (macro average), or of all questions alike (micro average). Two claims are kept apart:

- of these trained models: only other questions could have been drawn. Interval: stratified bootstrap over questions;
  p: sign-flip permutation test of the questions' mean differences, within benchmarks.
- of the methods: other seeds and other questions. Crossed random effects d_sq = mu + u_s + v_q + e_sq, variances by
  the mean squares of the analysis of variance, Student's t; from MIN_SEEDS seeds on. A bootstrap that draws three seeds
  anew instead covers far too seldom: docs/statistics.md has the figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from igsearch.seeds import generator

FloatArray = npt.NDArray[np.float64]
Scores = Mapping[str, FloatArray]
Weights = Mapping[str, float]

MACRO, MICRO = "macro average", "micro average"
LEVEL = 0.05
MIN_SEEDS = 3
"""With two seeds the t quantile of one degree of freedom is 12.7: an interval that nothing leaves."""
RESAMPLES = 2000
FLIPS = 9999
TIE = "tie"
_CELLS = 2_000_000  # of a block of random draws: 16 MB, however many questions there are


@dataclass(frozen=True, slots=True)
class Claim:
    """A 95 % interval and a two-sided p value of `the figure is 0`."""

    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and what may be claimed of it. `methods` is None below MIN_SEEDS seeds or where nothing varies.

    by_seed: the figure of each seed. seed_sd: its standard deviation over seeds beyond what the questions' noise
    explains (0 where that explains all of it), None below MIN_SEEDS seeds.
    """

    mean: float
    questions: int
    by_seed: tuple[float, ...]
    models: Claim
    methods: Claim | None
    seed_sd: float | None

    @property
    def decides(self) -> Claim:
        """The claim on which the verdict rests: that of the methods where there is one."""
        return self.methods or self.models


@dataclass(frozen=True, slots=True)
class Variance:
    """The variance of a figure in its two parts, each with the degrees of freedom of its estimate."""

    over_seeds: float
    seeds_df: float
    over_questions: float
    questions_df: float

    @property
    def total(self) -> float:
        """Of the figure, over seeds and questions."""
        return self.over_seeds + self.over_questions

    def half_width(self, level: float) -> float:
        """Of the two-sided interval of a level (.05: 95 %).

        The quantile is the mean of both parts' t quantiles, weighted by the parts (Cochran and Cox 1950). It errs on
        the safe side; Satterthwaite's single quantile does not with three seeds, see docs/statistics.md.
        """
        from scipy.stats import t

        quantiles = t.isf(level / 2, [self.seeds_df, self.questions_df])
        return float(quantiles @ (self.over_seeds, self.over_questions)) / sqrt(self.total)


@dataclass(frozen=True, slots=True)
class _Squares:
    """Mean squares of one benchmark's scores: of questions, and of what neither seed nor question explains."""

    seeds: int
    questions: int
    of_questions: float
    rest: float


def macro_weights(scores: Scores) -> dict[str, float]:
    """All benchmarks alike."""
    return dict.fromkeys(scores, 1 / len(scores))


def micro_weights(scores: Scores) -> dict[str, float]:
    """All questions alike."""
    total = sum(of.shape[1] for of in scores.values())
    return {name: of.shape[1] / total for name, of in scores.items()}


def averages(scores: Scores) -> dict[str, dict[str, float]]:
    """The weights of every figure: each benchmark by itself, and both averages."""
    single = {name: {name: 1.0} for name in scores}
    return {**single, MACRO: macro_weights(scores), MICRO: micro_weights(scores)}


def figures_by_seed(scores: Scores, weights: Weights) -> FloatArray:
    """The figure of each seed, (S,)."""
    return np.sum([weight * scores[name].mean(axis=1) for name, weight in weights.items()], axis=0)


def _squares(scores_SQ: FloatArray) -> _Squares:
    seeds, questions = scores_SQ.shape
    of_question_Q = scores_SQ.mean(axis=0)
    rest_SQ = scores_SQ - of_question_Q - (scores_SQ.mean(axis=1, keepdims=True) - scores_SQ.mean())
    rest = float((rest_SQ**2).sum()) / ((seeds - 1) * (questions - 1))
    return _Squares(seeds, questions, seeds * float(of_question_Q.var(ddof=1)), rest)


def seed_variance(scores: Scores, weights: Weights) -> float:
    """Variance over seeds of a figure, were it measured on endlessly many questions; at least 2 seeds and questions.

    The variance of the seeds' figures less what the seeds' noise on these questions adds to it, at least 0. In a
    balanced layout this is the REML estimate of the mixed model (Searle, Casella and McCulloch 1992, section 4.8).
    """
    squares = {name: _squares(scores[name]) for name in weights}
    noise = sum(weights[name] ** 2 * of.rest / of.questions for name, of in squares.items())
    return max(0.0, float(figures_by_seed(scores, weights).var(ddof=1)) - noise)


def seed_deviation(scores: Scores, weights: Weights) -> float | None:
    """The root of `seed_variance`; None below MIN_SEEDS seeds or with a single question."""
    return sqrt(seed_variance(scores, weights)) if _enough(scores, weights) else None


def variance(scores: Scores, weights: Weights) -> Variance:
    """What a figure's distance from its true value is made of; at least 2 seeds and 2 questions a benchmark.

    over_seeds: s²(D)/S of the seeds' figures D, in which the seeds' noise on these questions is. over_questions: what
    the choice of questions adds, the sum over benchmarks of w² (MS_questions - MS_rest)/(S Q), at least 0.
    """
    by_seed = figures_by_seed(scores, weights)
    squares = {name: _squares(scores[name]) for name in weights}
    shares = {name: weights[name] ** 2 / (of.seeds * of.questions) for name, of in squares.items()}
    terms = [(shares[name] * of.of_questions, of.questions - 1) for name, of in squares.items()]
    total, rest = sum(term for term, _ in terms), sum(shares[name] * of.rest for name, of in squares.items())
    return Variance(
        over_seeds=float(by_seed.var(ddof=1)) / len(by_seed),
        seeds_df=len(by_seed) - 1,
        over_questions=max(0.0, total - rest),
        # Satterthwaite (1946), of the mean squares that are added
        questions_df=total**2 / sum(term**2 / df for term, df in terms) if total else 1.0,
    )


def _enough(scores: Scores, weights: Weights) -> bool:
    """Whether there are seeds and questions enough to tell how either vary."""
    return all(scores[name].shape[0] >= MIN_SEEDS and scores[name].shape[1] > 1 for name in weights)


def of_methods(scores: Scores, weights: Weights) -> Claim | None:
    """The claim over seeds and questions; None below MIN_SEEDS seeds, with a single question, or where nothing varies.

    Arithmetic leaves some 1e-17 of what is exactly equal: that is nothing as well.
    """
    from scipy.optimize import brentq

    if not _enough(scores, weights):
        return None
    mean, of = float(figures_by_seed(scores, weights).mean()), variance(scores, weights)
    if of.total < 1e-24:
        return None
    half = of.half_width(LEVEL)
    least, most = 1e-12, 1.0
    if of.half_width(least) <= abs(mean):
        p = least
    else:
        p = float(brentq(lambda level: of.half_width(level) - abs(mean), least, most, xtol=1e-13))
    return Claim(mean - half, mean + half, p)


def _blocks(rows: int, columns: int) -> Iterator[int]:
    """How many rows to draw at a time."""
    block = max(1, _CELLS // max(1, columns))
    yield from (min(block, rows - start) for start in range(0, rows, block))


def resampled_means(values_Q: FloatArray, draw: np.random.Generator, resamples: int = RESAMPLES) -> FloatArray:
    """Means of resamples of the questions, (R,). How often each distinct value occurs in one is multinomial: the same
    draw, without moving every question."""
    distinct_K, counts_K = np.unique(values_Q, return_counts=True)
    shares_K = counts_K / len(values_Q)
    blocks = [
        draw.multinomial(len(values_Q), shares_K, rows) @ distinct_K for rows in _blocks(resamples, len(distinct_K))
    ]
    return np.concatenate(blocks) / len(values_Q)


def flipped_means(values_Q: FloatArray, draw: np.random.Generator, flips: int = FLIPS) -> FloatArray:
    """Means with the sign of every question's value drawn anew, (R,). Of n questions with one size of value the number
    of plus signs is binomial: the same draw, without moving every question."""
    sizes_K, counts_K = np.unique(np.abs(values_Q[values_Q != 0]), return_counts=True)
    blocks = [
        (2 * draw.binomial(counts_K, 0.5, (rows, len(sizes_K))) - counts_K) @ sizes_K
        for rows in _blocks(flips, len(sizes_K))
    ]
    return np.concatenate(blocks) / len(values_Q)


def sign_flip_p(observed: float, flipped_R: FloatArray) -> float:
    """Two-sided p value of a permutation test: the observed figure counts as one of the permutations, so that no p is
    0 (Phipson and Smyth 2010)."""
    return (1 + int((np.abs(flipped_R) >= abs(observed) - 1e-12).sum())) / (1 + len(flipped_R))


def _weighted(means: Mapping[str, FloatArray], weights: Weights) -> FloatArray:
    return np.sum([weight * means[name] for name, weight in weights.items()], axis=0)


def _of_models(mean: float, resampled_R: FloatArray, flipped_R: FloatArray) -> Claim:
    low, high = np.quantile(resampled_R, [LEVEL / 2, 1 - LEVEL / 2])
    return Claim(float(low), float(high), sign_flip_p(mean, flipped_R))


def _no_surer(wide: Claim, narrow: Claim, largest: float) -> Claim:
    """The wider of two claims, which is never the surer one: few seeds that agree by chance would make it so."""
    low, high = min(wide.low, narrow.low), max(wide.high, narrow.high)
    return Claim(max(low, -largest), min(high, largest), max(wide.p, narrow.p))


def estimate(
    scores: Scores, weights: Weights, resampled_R: FloatArray, flipped_R: FloatArray, largest: float = inf
) -> Estimate:
    """One figure. resampled_R, flipped_R: the same figure of `resampled_means` and of `flipped_means`."""
    by_seed = figures_by_seed(scores, weights)
    mean = fmean(by_seed.tolist())
    models, methods = _of_models(mean, resampled_R, flipped_R), of_methods(scores, weights)
    return Estimate(
        mean=mean,
        questions=sum(scores[name].shape[1] for name in weights),
        by_seed=tuple(by_seed.tolist()),
        models=models,
        methods=_no_surer(methods, models, largest) if methods else None,
        seed_sd=seed_deviation(scores, weights),
    )


def estimates(scores: Scores, key: str = "", flips: int = FLIPS, largest: float = inf) -> dict[str, Estimate]:
    """Every figure of `averages`, by name. The draws are keyed by `key` and the benchmark, and shared by the figures.

    scores: (S, Q) by benchmark, all of the same S >= 1 seeds, each of at least one question. largest: the size that no
    difference can exceed, at which intervals end.
    """
    resampled, flipped = {}, {}
    for name, of in scores.items():
        means_Q = of.mean(axis=0)
        resampled[name] = resampled_means(means_Q, generator("bootstrap", key, name))
        flipped[name] = flipped_means(means_Q, generator("sign flips", key, name), flips)
    return {
        figure: estimate(scores, weights, _weighted(resampled, weights), _weighted(flipped, weights), largest)
        for figure, weights in averages(scores).items()
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for how many stand in one table (Holm 1979), in the given order: the chance that any of the
    true null hypotheses among them falls below LEVEL is at most LEVEL, however they depend on each other."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def verdict(mean: float, adjusted_p: float, more: Any, less: Any) -> Any:
    """`more` where the figure is supported above 0, `less` where below, TIE where it is not supported."""
    if adjusted_p >= LEVEL or mean == 0:
        return TIE
    return more if mean > 0 else less
