"""What `igsearch power` prints: the smallest differences that would show, and what a given one would need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf, sqrt

import numpy as np

from igsearch.errors import UserError
from igsearch.evaluation import power
from igsearch.evaluation.paired import matched, paired_runs, scores
from igsearch.evaluation.power import Demand, Setting
from igsearch.evaluation.referee import MACRO, FloatArray, macro_weights, seed_deviation
from igsearch.evaluation.store import Evaluation
from igsearch.reporting import table as t
from igsearch.reporting.published import PublishedRow, published
from igsearch.reporting.table import Table

SEED_SDS = (0.0, 0.005, 0.01, 0.014)
SEED_SOURCE = (
    "1.4 points is what AutoRefine's paper gives for three seeds of Qwen2.5-3B (macro EM .408 +- .014, "
    "arXiv:2505.11277v5), read as a standard deviation; for other methods it is an assumption."
)
_GROWN = "macro average, all: every benchmark larger by one factor. or …: that benchmark alone, the others as they are."
_ROW = ("MR-Search", "Qwen2.5-3B", "base")


@dataclass(frozen=True)
class Ground:
    """What the calculation stands on. settings: by how the correlation is called (`rho .5`, `measured`). seed_sds: of
    the true macro average over seeds of one method, as shares. source: where shares and correlations are from."""

    settings: Mapping[str, Setting]
    seed_sds: Sequence[float]
    source: str

    @property
    def first(self) -> Setting:
        """One of the settings; shares and sizes are the same in all."""
        return next(iter(self.settings.values()))

    def only(self, name: str) -> "Ground":
        """The same on one benchmark alone."""
        settings = {label: each.only(name) for label, each in self.settings.items()}
        return Ground(settings, self.seed_sds, self.source)


def published_row(method: str, model: str, variant: str) -> PublishedRow:
    """The one row of that name. StopIteration where there is none."""
    return next(row for row in published() if (row.method, row.model, row.variant) == (method, model, variant))


def grid(shares: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, Setting]:
    """A setting for each correlation of power.RHOS."""
    return {f"rho {_short(rho)}": Setting(shares, sizes, power.uniform(rho)) for rho in power.RHOS}


def from_published() -> Ground:
    """The real test sizes, with the exact match of the best of the complete rows for a 3B model."""
    row = published_row(*_ROW)
    shares = {name: score for name, score in row.scores.items() if score is not None}
    told = f"EM of {row.method}, {row.model} ({row.source}), at the sizes of the test sets; rho assumed, a grid of it."
    return Ground(grid(shares, power.TEST_SIZES), SEED_SDS, told)


def from_records(first: Sequence[Evaluation], second: Sequence[Evaluation]) -> Ground:
    """Shares, sizes and correlations by benchmark of two recorded evaluations, the first method's shares; with
    referee.MIN_SEEDS seeds of both also the standard deviation over seeds. UserError where nothing pairs them."""
    runs = paired_runs(first, second)
    found = matched(runs)
    if not found or not found[0]:
        raise UserError("these two evaluations have no training seed or no question in common; name two that have")
    mine, theirs = (scores([[pair[side] for pair in of] for of in found], "em") for side in (0, 1))
    shares = {name: float(of.mean()) for name, of in mine.items()}
    sizes = {name: of.shape[1] for name, of in mine.items()}
    measured = Setting(shares, sizes, {name: _correlation(of, theirs[name]) for name, of in mine.items()})
    deviation = seed_deviation({name: theirs[name] - of for name, of in mine.items()}, macro_weights(mine))
    told = (
        f"EM, sizes and rho of {first[0].subject.method} against {second[0].subject.method} "
        f"({len(runs)} run{'s' if len(runs) > 1 else ''} of each"
        f"{', synthetic data' if first[0].subject.synthetic else ''}), rho by benchmark: "
        f"{', '.join(f'{name} {_short(round(rho, 2))}' for name, rho in measured.rho.items())}."
    )
    if deviation is not None:
        told += f" Seed SD measured from their differences: {points(deviation / sqrt(2))} points."
    sds = SEED_SDS if deviation is None else (*SEED_SDS, deviation / sqrt(2))
    return Ground({"measured": measured, **grid(shares, sizes)}, sorted(sds), told)


def _correlation(first_SQ: FloatArray, second_SQ: FloatArray) -> float:
    """Of outcomes on the same question, mean over the pairs of runs; 0 where a run has all right or all wrong."""
    pairs = [(a, b) for a, b in zip(first_SQ, second_SQ, strict=True) if a.std() and b.std()]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])) if pairs else 0.0


def _short(value: float) -> str:
    return f"{value:g}".replace("0.", ".")


def points(value: float | None, digits: int = 1) -> str:
    """A share as points; a dash where it is unknown."""
    return t.ABSENT if value is None else f"{100 * value:.{digits}f}"


def _whole(value: float) -> str:
    return "never" if isinf(value) else f"{value:,.0f}"


def _head(ground: Ground, name: str) -> tuple[str, str, str]:
    return name, f"{ground.first.sizes[name]:,}", points(ground.first.shares[name])


def smallest_table(ground: Ground, demand: Demand) -> Table:
    """One run of each method: the smallest difference that shows, by benchmark and for the macro average."""
    names = list(ground.first.shares)
    rows = [
        (*_head(ground, name), *(points(power.detectable(s.only(name), demand)) for s in ground.settings.values()))
        for name in names
    ]
    if len(names) > 1:
        total, mean = sum(ground.first.sizes[name] for name in names), _mean(ground.first)
        found = (points(power.detectable(s, demand), 2) for s in ground.settings.values())
        rows.append((MACRO, f"{total:,}", points(mean), *found))
    return Table(
        title="Smallest difference that would show, in points: one run each, seed SD 0",
        columns=("benchmark", "n", "EM", *ground.settings),
        rows=tuple(rows),
    )


def _mean(setting: Setting) -> float:
    return sum(setting.shares.values()) / len(setting.shares)


def questions_table(ground: Ground, difference: float, demand: Demand) -> Table:
    """One run of each: the questions that would show the difference; what there is of them stands beside."""
    names, settings = list(ground.first.shares), list(ground.settings.values())
    needed = [power.questions_needed(s, difference, demand) for s in settings]
    rows = [(*_head(ground, name), *(f"{of[name]:,}" for of in needed)) for name in names]
    if len(names) > 1:
        total = sum(ground.first.sizes[name] for name in names)
        times = [power.times_needed(s, difference, demand) for s in settings]
        rows.append((f"{MACRO}, all", f"{total:,}", "", *(_whole(total * of) for of in times)))
        rows.append(("  that is, times", "", "", *(f"{of:.2f}" for of in times)))
        least = min(names, key=lambda name: ground.first.sizes[name])
        alone = (_whole(power.grown_alone(s, least, difference, demand)) for s in settings)
        rows.append((f"  or {least}", f"{ground.first.sizes[least]:,}", "", *alone))
    return Table(
        title=f"Questions that would show {points(difference)} points: one run each, seed SD 0",
        columns=("benchmark", "n", "EM", *ground.settings),
        rows=tuple(rows),
        notes=(_GROWN,) if len(names) > 1 else (),
    )


def seeds_tables(ground: Ground, difference: float, seeds: int, demand: Demand) -> list[Table]:
    """By the standard deviation over seeds: what shows with so many seeds, and the seeds that the difference needs."""
    settings = ground.settings.values()
    what = f"the {MACRO}" if len(ground.first.shares) > 1 else next(iter(ground.first.shares))
    counts = dict.fromkeys((1, seeds))
    smallest = {
        n: [(points(sd), *(points(power.detectable(s, demand, n, sd)) for s in settings)) for sd in ground.seed_sds]
        for n in counts
    }
    needed = [
        (points(sd), *(_count(power.seeds_needed(s, difference, sd, demand)) for s in settings))
        for sd in ground.seed_sds
    ]
    columns = ("seed SD", *ground.settings)
    titles = {n: f"{n} seeds each" if n > 1 else "one run each, seed SD known" for n in counts}
    tables = [
        Table(f"Smallest difference of {what}: {titles[n]}", columns, tuple(rows)) for n, rows in smallest.items()
    ]
    title = f"Seeds of each method that show {points(difference)} points of {what}"
    return [*tables, Table(title, columns, tuple(needed))]


def _count(seeds: int | None) -> str:
    return f"over {power.MOST:,}" if seeds is None else f"{seeds:,}"


def assumptions(ground: Ground, demand: Demand) -> str:
    """What all of it rests on."""
    return (
        f"Two-sided test at level {_short(demand.alpha)}, power {_short(demand.power)}. {ground.source} rho: "
        "correlation of two methods' outcomes, right or wrong, on one question; the test is paired. Questions are "
        "independent. The difference is the same in every benchmark. Seeds: paired t test over seeds, of at least "
        "three; seed SD in points, of one method's true figure over training seeds, questions' noise apart. Of three "
        "seeds a t test asks for 4.3 standard errors where a known SD needs 2.0: one run can show less, but says "
        "nothing of seeds. It is assumed that two seeds of one method agree on a question as often as two methods do, "
        "so that seeds average out the questions' noise too. "
        f"{SEED_SOURCE} A difference that would not show may nevertheless be there."
    )
