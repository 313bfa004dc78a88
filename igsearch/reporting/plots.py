"""The figures, as PNG and SVG, and the curves behind them as CSV. The same results give the same bytes."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator, PercentFormatter

from igsearch.evaluation.store import Evaluation
from igsearch.evaluation.summary import by_hops
from igsearch.provenance import atomic_path, write_text
from igsearch.reporting.results import (
    WARM_START,
    MethodResult,
    TrainingRun,
    by_method,
    display,
    group,
    mean_where,
    with_hops,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with every common colour blindness; markers and dashes tell them apart in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS, _DASHES = "osD^vP*", ("-", "--", "-.", ":")
_BASE_LINE = "#8C8C8C"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "igsearch",
    "figure.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_SMOOTHING = 5
CURVES = (
    "validation/em",
    "reward/uniform_groups",
    "validation/first_query_useful",
)
"""Metrics of the training history that are drawn over steps and written to curves.csv."""


def _style(methods: Sequence[str], method: str) -> dict[str, Any]:
    place = list(methods).index(method)
    return {"color": _COLOURS[place % len(_COLOURS)], "linestyle": _DASHES[place % len(_DASHES)]}


def _save(figure: "Figure", out: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG without dates and versions in them."""
    paths = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        path = out / f"{name}.{suffix}"
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata)
        paths.append(path)
    plt.close(figure)
    return paths


def _frame(title: str, caption: str) -> tuple["Figure", "Axes"]:
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.set_title(title)
    figure.supxlabel(caption, fontsize=7.5, color="#555555", x=0.01, ha="left")
    return figure, axes


def _over_seeds(runs: Sequence[TrainingRun], name: str) -> tuple[list[int], list[list[float]]]:
    """The steps that every run logged, and the runs' values at each."""
    series = [dict(run.series(name)) for run in runs]
    steps = sorted(set.intersection(*map(set, series))) if series else []
    return steps, [[values[step] for values in series] for step in steps]


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Centred moving mean over `width` values, over fewer at the ends."""
    half = width // 2
    return [fmean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


def _curve(axes: "Axes", runs: Mapping[str, Sequence[TrainingRun]], name: str, width: int = 1) -> bool:
    """Mean over seeds as a line, the range as a band, for each method; False where no run logged the metric."""
    drawn = False
    for place, (method, members) in enumerate(runs.items()):
        steps, values = _over_seeds(members, name)
        if not steps:
            continue
        lines = [smooth(line, width) for line in zip(*values, strict=True)]
        columns = list(zip(*lines, strict=True))
        style = _style(list(runs), method)
        marker = _MARKERS[place % len(_MARKERS)] if len(steps) <= 20 else None
        label = f"{display(method)} ({len(members)} seed{'s' if len(members) > 1 else ''})"
        axes.plot(steps, [fmean(column) for column in columns], label=label, marker=marker, markersize=4, **style)
        if len(members) > 1:
            axes.fill_between(steps, [*map(min, columns)], [*map(max, columns)], color=style["color"], alpha=0.15, lw=0)
        drawn = True
    return drawn


def _caption(text: str, synthetic: bool) -> str:
    return f"{'Synthetic data. ' if synthetic else ''}{text}"


def curve(
    training: Sequence[TrainingRun], name: str, title: str, ylabel: str, caption: str, width: int = 1
) -> "Figure | None":
    """A metric over training steps, one line per method; None where no run logged it."""
    figure, axes = _frame(title, caption)
    if not _curve(axes, by_method(training), name, width):
        plt.close(figure)
        return None
    axes.set(xlabel="training step", ylabel=ylabel, ylim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.legend(loc="best")
    return figure


def hops_bars(results: Sequence[MethodResult], synthetic: bool) -> "Figure | None":
    """EM by number of hops: a bar per method, whiskers over the range of seeds; None where hops are unknown."""
    counts = {hops: len(records) for hops, records in by_hops(results[0].evaluations[0].records).items()}
    if not counts:
        return None
    coloured = [result.method for result in results if result.method != WARM_START]
    seeds = " and ".join(map(str, sorted({len(result.seeds) for result in results if result.seeds})))
    told = f"Bars: mean over {seeds} seeds; whiskers: lowest and highest seed." if seeds else ""
    figure, axes = _frame("Exact match by number of hops", _caption(f"Test questions, greedy. {told}", synthetic))
    width = 0.8 / len(results)
    for place, result in enumerate(results):
        _bars(axes, result, list(counts), place * width - 0.4 + width / 2, width, coloured)
    axes.set_xticks(range(len(counts)), [f"{h} hop{'s' if h > 1 else ''}\n{n} questions" for h, n in counts.items()])
    axes.set(ylabel="exact match", ylim=(0, 1.1), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title(axes.get_title(loc="left"), pad=22)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=4, columnspacing=1.2)
    return figure


def _bars(
    axes: "Axes", result: MethodResult, hops: Sequence[int], offset: float, width: float, coloured: Sequence[str]
) -> None:
    spreads = [result.over_seeds(mean_where(with_hops(each), "em")) for each in hops]
    known = [(place, value) for place, value in enumerate(spreads) if value]
    colour = _style(coloured, result.method)["color"] if result.method in coloured else _BASE_LINE
    at, means = [place + offset for place, _ in known], [value.mean for _, value in known]
    whiskers = [[value.mean - value.low for _, value in known], [value.high - value.mean for _, value in known]]
    axes.bar(at, means, width * 0.92, label=display(result.method), color=colour)
    if len(result.seeds) > 1:
        axes.errorbar(at, means, yerr=whiskers, fmt="none", ecolor="#222222", elinewidth=0.9, capsize=2)
    for x, (_, value) in zip(at, known, strict=True):
        axes.text(x, value.high + 0.015, f"{100 * value.mean:.0f}", ha="center", fontsize=6.5, color="#333333")


def curves_csv(training: Sequence[TrainingRun]) -> str:
    """The drawn curves, unsmoothed: a row per method, seed, metric and step."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "seed", "metric", "step", "value"])
    for run in training:
        for name in CURVES:
            writer.writerows([run.method, run.seed, name, step, f"{value:.6f}"] for step, value in run.series(name))
    return out.getvalue()


def write(
    evaluations: Sequence[Evaluation], training: Sequence[TrainingRun], out: Path, validation_questions: int
) -> list[Path]:
    """Write the figures that the inputs allow, and curves.csv, below `out`. Returns the paths."""
    results = group(evaluations)
    synthetic = results[0].evaluations[0].subject.synthetic
    band = "Line: mean over seeds; band: lowest to highest seed."
    told = f"{validation_questions} validation questions, greedy. {band}"
    mean_of = f"Training batches, moving mean over {_SMOOTHING} steps. {band}"
    figures: dict[str, Callable[[], Figure | None]] = {
        "learning_curves": lambda: curve(
            training, CURVES[0], "Exact match during training", "exact match, validation", _caption(told, synthetic)
        ),
        "uniform_groups": lambda: curve(
            training,
            CURVES[1],
            "Groups in which all rollouts have the same reward",
            "share of groups",
            _caption(mean_of, synthetic),
            _SMOOTHING,
        ),
        "first_query_useful": lambda: curve(
            training,
            CURVES[2],
            "First queries that bring the first fact of the chain",
            "share of first queries, validation",
            _caption(told, synthetic),
        ),
        "em_by_hops": lambda: hops_bars(results, synthetic),
    }
    written: list[Path] = []
    with matplotlib.rc_context(_STYLE):
        for name, draw in figures.items():
            figure = draw()
            written += _save(figure, out, name) if figure else []
    write_text(out / "curves.csv", curves_csv(training))
    return [*written, out / "curves.csv"]
