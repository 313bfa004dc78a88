"""Two methods side by side for the terminal: a table a metric, with intervals, p values and verdicts."""

from collections.abc import Mapping, Sequence

from igsearch.evaluation.paired import EFFORT, Paired
from igsearch.evaluation.referee import MACRO, MICRO, MIN_SEEDS, TIE, holm, verdict
from igsearch.reporting.differences import IN_WORDS, p_cell, signed
from igsearch.reporting.results import METRIC_NAMES
from igsearch.reporting.table import Table

_TITLES = {
    **{name: f"{title}, points" for name, title in METRIC_NAMES.items()},
    "searches": "Searches per question",
    "sampled_tokens": "Sampled tokens per question",
}
_COLUMNS = ("benchmark", "n", "A", "B", "B - A", "95 %", "p", "Holm\np", "verdict")


def _benchmarks(figures: Mapping[str, Paired]) -> list[str]:
    return [name for name in figures if name not in (MACRO, MICRO)]


def _has_methods(figures: Mapping[str, Paired]) -> bool:
    return any(of.difference.methods for of in figures.values())


def comparison_table(metric: str, figures: Mapping[str, Paired], marks: Sequence[str] = ()) -> Table:
    """One field by benchmark and, with several of them, the averages; B minus A. `marks` stand in the title.

    Holm's correction is over the benchmarks. The macro average is one figure and one test by itself; the micro average
    is shown and not judged.
    """
    benchmarks = _benchmarks(figures)
    adjusted = dict(zip(benchmarks, holm([figures[name].difference.decides.p for name in benchmarks]), strict=True))
    shown = [*benchmarks, MACRO, MICRO] if len(benchmarks) > 1 else benchmarks
    digits, with_models = _digits(metric, figures), _has_methods(figures)
    rows = {name: _row(name, figures[name], metric, digits, adjusted.get(name)) for name in shown}
    models = {name: (p_cell(figures[name].difference.models.p),) if with_models else () for name in shown}
    return Table(
        title=f"{_TITLES[metric]} ({', '.join(marks)})" if marks else _TITLES[metric],
        columns=(*_COLUMNS, "p\nmodels") if with_models else _COLUMNS,
        rows=tuple((*rows[name], *models[name]) for name in shown),
    )


def _digits(metric: str, figures: Mapping[str, Paired]) -> int:
    """Decimals that tell differences apart and fit 80 columns."""
    if metric == "searches":
        return 2
    return 0 if metric in EFFORT and any(max(of.first, of.second) >= 100 for of in figures.values()) else 1


def _row(name: str, of: Paired, metric: str, digits: int, adjusted: float | None) -> tuple[str, ...]:
    """The cells but for the p value of the trained models. Without an adjusted p value its own judges it."""
    found, scale = of.difference, 1 if metric in EFFORT else 100
    more, less = ("B more", "A more") if metric in EFFORT else ("B", "A")
    winner = verdict(found.mean, found.decides.p if adjusted is None else adjusted, more, less)
    return (
        name,
        str(found.questions),
        f"{scale * of.first:.{digits}f}",
        f"{scale * of.second:.{digits}f}",
        signed(scale * found.mean, digits),
        f"{signed(scale * found.decides.low, digits)} to {signed(scale * found.decides.high, digits)}",
        p_cell(found.decides.p),
        "" if adjusted is None else p_cell(adjusted),
        "" if name == MICRO else winner,
    )


def explanation(seeds: int, figures: Mapping[str, Paired]) -> str:
    """What the tables' intervals, p values and verdicts are about."""
    if _has_methods(figures):
        claim = (
            f"95 %, p, verdict: of the methods, over seeds ({seeds}, paired) and questions. p models: over "
            "questions alone, for the models as they were trained; it tells nothing of other seeds."
        )
        deviation = figures[MACRO].difference.seed_sd
        spread = (
            ""
            if deviation is None
            else (
                f" Over seeds the macro average of {METRIC_NAMES['em']} B - A has a standard deviation of "
                f"{100 * deviation:.1f} points beyond the questions' noise."
            )
        )
    else:
        few = f"with fewer than {MIN_SEEDS} seeds" if seeds < MIN_SEEDS else "where no seed differs from another"
        claim = (
            f"95 %, p, verdict: of these trained models, over questions alone; {few} nothing is told of other seeds."
        )
        spread = ""
    correction = f"Holm p: p corrected for the number of benchmarks; unless it is below .05, the verdict is {TIE}."
    averages = f" {IN_WORDS} The macro average is judged by its own p." if len(_benchmarks(figures)) > 1 else ""
    return f"{claim}{spread} {correction}{averages}"
