"""Methods against their base form, paired by training seed: which differences are supported, and which are ties."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from igsearch.evaluation.paired import Paired, compare, matched, paired_runs
from igsearch.evaluation.referee import MACRO, MICRO, MIN_SEEDS, TIE, Claim, Estimate, holm, verdict
from igsearch.reporting import table as t
from igsearch.reporting.results import METRIC_NAMES, MethodResult, display
from igsearch.reporting.table import Table

METRICS = ("em", "f1")
"""The fields whose differences are tabulated."""

IN_WORDS = "macro average: unweighted mean of the benchmarks. micro average: mean of all questions."
OF_METHODS, OF_MODELS = "methods", "trained models"
"""What a verdict is about: other seeds and questions, or these trained models on other questions."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A method minus its base: for each metric every figure by name (benchmarks, macro and micro average)."""

    method: str
    base: str
    seeds: int
    figures: Mapping[str, Mapping[str, Paired]]

    def estimate(self, metric: str, figure: str = MACRO) -> Estimate:
        """What one figure of one metric is worth."""
        return self.figures[metric][figure].difference

    def benchmarks(self, metric: str) -> list[str]:
        """The figures that are no averages."""
        return [name for name in self.figures[metric] if name not in (MACRO, MICRO)]


def base_of(method: str, methods: Sequence[str], bases: Sequence[str]) -> list[str]:
    """What a method is compared with: the longest base that its name extends (`ig_search_n1`: `ig_search`), or else the
    first; a base itself with each that stands before it. Without bases the first method is the base of all others."""
    bases = bases or methods[:1]
    if method in bases:
        return list(bases[: bases.index(method)])
    extended = [base for base in bases if method.startswith(f"{base}_")]
    return [max(extended, key=len)] if extended else list(bases[:1])


def difference(method: MethodResult, base: MethodResult, metrics: Iterable[str] = METRICS) -> Difference | None:
    """None where they have no seed or no question in common."""
    runs = paired_runs(base.evaluations, method.evaluations)
    found = matched(runs)
    if not found or not found[0]:
        return None
    return Difference(method.method, base.method, len(runs), {name: compare(found, name) for name in metrics})


def differences(results: Sequence[MethodResult], bases: Sequence[str]) -> list[Difference]:
    """All trained methods against what `base_of` says, in the order of `results`."""
    by_name = {result.method: result for result in results if result.seeds}
    names = list(by_name)
    wanted = [(name, base) for name in names for base in base_of(name, names, bases) if base in by_name]
    found = [difference(by_name[name], by_name[base]) for name, base in wanted]
    return [each for each in found if each]


def claim_of(estimate: Estimate) -> str:
    """What the verdict on an estimate is about."""
    return OF_METHODS if estimate.methods else OF_MODELS


def signed(value: float, digits: int = 1) -> str:
    """`+1.4`; what rounds to nothing is `+0.0`, never `-0.0`."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def points(value: float) -> str:
    """A share as points with their sign: `+1.4`."""
    return signed(100 * value)


def limits(claim: Claim) -> str:
    """The 95 % interval in points: `-0.6 to +3.3`."""
    return f"{points(claim.low)} to {points(claim.high)}"


def p_cell(value: float) -> str:
    """`.021`, or `<.001`."""
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _raw(found: Difference, metric: str, figure: str, adjusted: float | None) -> dict[str, Any]:
    """A row of the CSV file; without an adjusted p value it has no verdict."""
    of = found.estimate(metric, figure)
    return {
        "method": found.method,
        "base": found.base,
        "metric": metric,
        "figure": figure,
        "questions": of.questions,
        "seeds": found.seeds,
        "claim": claim_of(of),
        "points": 100 * of.mean,
        "points_95_low": 100 * of.decides.low,
        "points_95_high": 100 * of.decides.high,
        "p": of.decides.p,
        "p_holm": adjusted,
        "verdict": None if adjusted is None else verdict(of.mean, adjusted, found.method, found.base),
        "seed_sd": None if of.seed_sd is None else 100 * of.seed_sd,
        "models_95_low": 100 * of.models.low,
        "models_95_high": 100 * of.models.high,
        "models_p": of.models.p,
        "points_by_seed": " ".join(f"{100 * value:+.4f}" for value in of.by_seed),
    }


def _row(found: Difference, of: Estimate, adjusted: float) -> tuple[str, ...]:
    winner = verdict(of.mean, adjusted, display(found.method), display(found.base))
    marked = winner if winner == TIE or of.methods else f"{winner} (these models)"
    deviation = t.ABSENT if of.seed_sd is None else f"{100 * of.seed_sd:.1f}"
    head = (display(found.method), display(found.base), str(found.seeds))
    p_values = (p_cell(of.decides.p), p_cell(adjusted))
    return (*head, points(of.mean), limits(of.decides), *p_values, marked, deviation, p_cell(of.models.p))


_COLUMNS = ("method", "minus", "seeds", "points", "95 %", "p", "Holm p", "verdict", "seed SD", "p of these models")


def _explained(found: Sequence[Difference], what: str, count: int) -> str:
    weak = (
        f" With fewer than {MIN_SEEDS} seeds interval, p and verdict are over questions alone: what they say, they say "
        "of these trained models, and other seeds may say otherwise."
    )
    few = any(each.seeds < MIN_SEEDS for each in found)
    return (
        f"{what}; method minus base in points (of 100), paired by training seed and question. 95 %, p: over seeds "
        f"and questions.{weak if few else ''} Holm p: p corrected for the {count} comparisons of this table; unless it "
        f"is below .05 the verdict is {TIE}, otherwise the better one. seed SD: of the difference over seeds, beyond "
        "what the questions' noise explains. p of these models: over questions alone, for the models as they were "
        "trained; it tells nothing of other seeds."
    )


def _average_table(found: Sequence[Difference], metric: str, title: str) -> Table:
    """One metric: a comparison a row, of the macro average. The CSV has the micro average beside it, unjudged."""
    of = [each.estimate(metric) for each in found]
    adjusted = holm([each.decides.p for each in of])
    rows = [_row(each, one, p) for each, one, p in zip(found, of, adjusted, strict=True)]
    judged = [_raw(each, metric, MACRO, p) for each, p in zip(found, adjusted, strict=True)]
    return Table(
        title=title.format(f"Differences in {METRIC_NAMES[metric]}, macro average"),
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(_explained(found, f"{METRIC_NAMES[metric]}, unweighted mean of the benchmarks", len(rows)),),
        data=(*judged, *(_raw(each, metric, MICRO, None) for each in found)),
        left=2,
    )


def _benchmark_table(found: Sequence[Difference], metric: str, title: str) -> Table:
    """One metric: a comparison a row, a benchmark a column; what is supported carries a star."""
    names = found[0].benchmarks(metric)
    cells = [(i, name) for i in range(len(found)) for name in names]
    p_values = holm([found[i].estimate(metric, name).decides.p for i, name in cells])
    adjusted, rows = dict(zip(cells, p_values, strict=True)), []
    for i, each in enumerate(found):
        shown = [_starred(each.estimate(metric, name), adjusted[i, name]) for name in names]
        rows.append((display(each.method), display(each.base), str(each.seeds), *shown))
    return Table(
        title=title.format(f"Differences in {METRIC_NAMES[metric]} by benchmark"),
        columns=("method", "minus", "seeds", *names),
        rows=tuple(rows),
        notes=(
            f"In points. *: p below .05 after Holm's correction over the {len(cells)} differences of this table; all "
            "others are ties. Intervals and p values are in the CSV file.",
        ),
        data=tuple(_raw(found[i], metric, name, adjusted[i, name]) for i, name in cells),
        left=2,
    )


def _starred(of: Estimate, adjusted: float) -> str:
    return points(of.mean) + ("" if verdict(of.mean, adjusted, True, True) == TIE else " *")


def difference_tables(results: Sequence[MethodResult], bases: Sequence[str], title: str) -> list[Table]:
    """For each metric the macro average, then the benchmarks; none where there is nothing to compare.

    title: with a place `{}` for what a table shows.
    """
    found = differences(results, bases)
    kinds = (_average_table, _benchmark_table)
    return [make(found, metric, title) for make in kinds for metric in METRICS] if found else []
