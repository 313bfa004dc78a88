"""Made worlds in which the true difference of two methods is known, and how often each interval covers it.

`python tests/evaluation/simulated.py` prints the tables of docs/statistics.md (minutes of one core).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import sem, t

from igsearch.evaluation import referee
from igsearch.evaluation.referee import Scores
from igsearch.seeds import generator

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]
Method = Callable[[Scores, np.random.Generator], Interval | None]

SIZES = dict(
    zip(("nq", "triviaqa", "popqa", "hotpotqa", "2wiki", "musique", "bamboogle"), [300] * 6 + [125], strict=True)
)
SMALL = {name: size // 5 for name, size in SIZES.items()}
REAL = dict(zip(SIZES, (3610, 11313, 14267, 7405, 12576, 2417, 125), strict=True))
EASE = dict(zip(SIZES, (0.0, 1.0, 0.0, -0.3, -0.5, -2.0, -0.5), strict=True))
"""Mean ease of a benchmark's questions, in logits: accuracies from a fifth to two thirds."""

_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


@dataclass(frozen=True)
class World:
    """Two methods answer the same questions, each with several seeds; an answer is right or wrong.

    In logits: a question's ease (questions, shared by all models), what a method makes of a question (interaction,
    shared by its seeds), a seed's skill, and a seed's skill on one benchmark (a half of it); what is left is the
    logistic noise of one model on one question. seed_sd: of the macro accuracy of one method over seeds, in shares.
    effect: true macro difference, in shares.
    """

    sizes: Mapping[str, int]
    seeds: int
    effect: float = 0.0
    seed_sd: float = 0.02
    questions: float = 1.5
    interaction: float = 0.7

    def macro(self, shift: float, more: float = 0.0) -> float:
        """True macro accuracy where the logits are shifted; `more` adds to their variance."""
        sd = float(np.sqrt(self.questions**2 + self.interaction**2 + more))
        logits = np.array([EASE[name] + shift for name in self.sizes])[:, None] + sd * _NODES
        return float(((1 / (1 + np.exp(-logits))) @ _NODE_WEIGHTS / _NODE_WEIGHTS.sum()).mean())

    def scales(self) -> tuple[float, float]:
        """Of a seed's skill and of a method's shift, in logits."""
        slope = (self.macro(0.01) - self.macro(-0.01)) / 0.02
        skill = self.seed_sd / slope / np.sqrt(1 + 0.25 / len(self.sizes))
        more = 1.25 * skill**2
        return skill, brentq(lambda shift: self.macro(shift, more) - self.macro(0.0, more) - self.effect, -3, 3)


def differences(world: World, draw: np.random.Generator) -> dict[str, FloatArray]:
    """Second method minus first: -1, 0 or 1 by seed and question, (S, Q) by benchmark."""
    skill, shift = world.scales()
    of_seed = draw.normal(0, skill, (2, world.seeds)) if skill else np.zeros((2, world.seeds))
    found = {}
    for name, size in world.sizes.items():
        ease = EASE[name] + draw.normal(0, world.questions, size)
        right = []
        for method in range(2):
            taste = draw.normal(0, world.interaction, size) + (shift if method else 0.0)
            seeds = of_seed[method] + draw.normal(0, skill / 2, world.seeds)
            logits = (ease + taste)[None] + seeds[:, None]
            right.append(draw.random(logits.shape) < 1 / (1 + np.exp(-logits)))
        found[name] = right[1].astype(float) - right[0]
    return found


def judged(scores: Scores, draw: np.random.Generator) -> Interval:
    """The interval on which the referee's verdict rests."""
    claim = referee.estimates(scores, str(draw.integers(2**32)), flips=1)[referee.MACRO].decides
    return claim.low, claim.high


def crossed(scores: Scores, draw: np.random.Generator) -> Interval | None:
    """The same, where it may be narrower than that over questions alone."""
    claim = referee.of_methods(scores, referee.macro_weights(scores))
    return (claim.low, claim.high) if claim else None


def satterthwaite(scores: Scores, draw: np.random.Generator) -> Interval | None:
    """The same variances, with one t quantile of Satterthwaite's degrees of freedom."""
    of = referee.variance(scores, referee.macro_weights(scores))
    if not of.total:
        return None
    df = of.total**2 / (of.over_seeds**2 / of.seeds_df + of.over_questions**2 / of.questions_df)
    mean = float(referee.figures_by_seed(scores, referee.macro_weights(scores)).mean())
    half = float(t.ppf(0.975, df)) * float(np.sqrt(of.total))
    return mean - half, mean + half


def over_questions(scores: Scores, draw: np.random.Generator, resamples: int = 400) -> Interval:
    """The stratified bootstrap over questions alone."""
    means = [referee.resampled_means(of.mean(axis=0), draw, resamples) for of in scores.values()]
    low, high = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    return float(low), float(high)


def two_level_bootstrap(scores: Scores, draw: np.random.Generator, resamples: int = 400) -> Interval:
    """Percentile interval: seeds drawn anew and, within each benchmark, questions, the same for all seeds."""
    seeds = next(iter(scores.values())).shape[0]
    seeds_RS = draw.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    total_R = np.zeros(resamples)
    for of in scores.values():
        n = of.shape[1]
        patterns_KS, counts_K = np.unique(of.T, axis=0, return_counts=True)
        drawn_RK = draw.multinomial(n, counts_K / n, resamples) / n
        total_R += ((drawn_RK @ patterns_KS) * seeds_RS).sum(axis=1)
    low, high = np.quantile(total_R / len(scores), [0.025, 0.975])
    return float(low), float(high)


def over_seeds(scores: Scores, draw: np.random.Generator) -> Interval:
    """Student's t interval of the seeds' figures: the questions are taken as all there are."""
    values_S = referee.figures_by_seed(scores, referee.macro_weights(scores))
    mean, half = float(values_S.mean()), float(t.ppf(0.975, len(values_S) - 1) * sem(values_S))
    return mean - half, mean + half


METHODS: Mapping[str, Method] = {
    "the referee": judged,
    "crossed, Cochran and Cox": crossed,
    "crossed, Satterthwaite": satterthwaite,
    "two-level bootstrap": two_level_bootstrap,
    "t over seeds": over_seeds,
    "bootstrap over questions": over_questions,
}


def coverage(world: World, methods: Mapping[str, Method], worlds: int) -> dict[str, tuple[float, float, float]]:
    """For each interval how often it covers the true difference, how often it excludes 0, and its mean half width."""
    rows: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in methods}
    for number in range(worlds):
        draw = generator("simulated world", number)
        scores = differences(world, draw)
        for name, method in methods.items():
            low, high = method(scores, draw) or (0.0, 0.0)
            rows[name].append((low <= world.effect <= high, not low <= 0 <= high, (high - low) / 2))
    return {name: tuple(np.mean(of, axis=0).tolist()) for name, of in rows.items()}  # type: ignore[misc]


WORLDS = (
    ("no difference", World(SIZES, 3), 2000),
    ("no difference", World(SIZES, 8), 2000),
    ("no difference, seeds vary by .005", World(SIZES, 3, seed_sd=0.005), 2000),
    ("no difference, seeds vary by .005", World(SIZES, 8, seed_sd=0.005), 2000),
    ("no difference, a fifth of the questions", World(SMALL, 3), 2000),
    ("no difference, one benchmark of 125", World({"bamboogle": 125}, 3), 2000),
    ("no difference, one benchmark of 125", World({"bamboogle": 125}, 8), 2000),
    ("no difference, the real test sizes", World(REAL, 3), 400),
    ("no difference, the real test sizes", World(REAL, 8), 400),
    ("3 points", World(SIZES, 3, 0.03), 2000),
    ("3 points", World(SIZES, 8, 0.03), 2000),
    ("5 points", World(SIZES, 3, 0.05), 2000),
)


def main() -> None:
    """Print the table: of each interval how often it covers the truth and how often it excludes 0."""
    print(
        "\n".join(
            "| " + " | ".join(cells) + " |" for cells in (("true difference", "seeds", *METHODS), [":--", *["--:"] * 7])
        )
    )
    for title, world, worlds in WORLDS:
        found = coverage(world, METHODS, worlds).values()
        cells = (title, str(world.seeds), *(f"{covers:.3f} / {excludes:.3f}" for covers, excludes, _ in found))
        print("| " + " | ".join(cells).replace("0.", ".") + " |", flush=True)


if __name__ == "__main__":
    main()
