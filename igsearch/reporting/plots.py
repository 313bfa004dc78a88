"""The figures, as PNG and SVG, and the curves behind them as CSV. The same results give the same bytes."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

from igsearch.evaluation.statistics import Spread
from igsearch.evaluation.store import Evaluation
from igsearch.evaluation.summary import by_hops
from igsearch.provenance import atomic_path, write_text
from igsearch.reporting import credit_figures, curves, forest
from igsearch.reporting.differences import differences
from igsearch.reporting.examined import Examined
from igsearch.reporting.figure import GREY, MANY, STYLE, caption_of, frame, panels, style_of
from igsearch.reporting.results import (
    WARM_START,
    MethodResult,
    TrainingRun,
    display,
    group,
    mean_where,
    with_hops,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EM = "Exact match by number of hops"
Caption = Callable[[str], str]
"""Adds what must not be overlooked to what a figure tells of itself."""


def save(figure: "Figure", out: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG without dates and versions in them."""
    paths = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        path = out / f"{name}.{suffix}"
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata)
        paths.append(path)
    plt.close(figure)
    return paths


def _of_hops(result: MethodResult, hops: int) -> Spread | None:
    return result.over_seeds(mean_where(with_hops(hops), "em"))


def _hops_name(hops: int, questions: int) -> str:
    return f"{hops} hop{'s' if hops > 1 else ''}\n{questions} questions"


def hops(results: Sequence[MethodResult], synthetic: bool, partial: bool = False) -> "Figure | None":
    """EM by number of hops, with the range over seeds; None where hops are unknown."""
    counts = {hops: len(records) for hops, records in by_hops(results[0].evaluations[0].records).items()}
    if not counts:
        return None
    seeds = " and ".join(map(str, sorted({len(result.seeds) for result in results if result.seeds})))

    def caption(text: str) -> str:
        return caption_of(text, synthetic, partial)

    return (_dots if len(results) > MANY + 1 else _all_bars)(results, counts, seeds, caption)


def _all_bars(results: Sequence[MethodResult], counts: dict[int, int], seeds: str, caption: Caption) -> "Figure":
    coloured = [result.method for result in results if result.method != WARM_START]
    told = f"Bars: mean over {seeds} seeds; whiskers: lowest and highest seed." if seeds else ""
    figure, axes = frame(_EM, caption(f"Test questions, greedy. {told}"))
    width = 0.8 / len(results)
    for place, result in enumerate(results):
        _bars(axes, result, list(counts), place * width - 0.4 + width / 2, width, coloured)
    axes.set_xticks(range(len(counts)), [_hops_name(*each) for each in counts.items()])
    axes.set(ylabel="exact match", ylim=(0, 1.1), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title(axes.get_title(loc="left"), pad=22)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=4, columnspacing=1.2)
    return figure


def _bars(
    axes: "Axes", result: MethodResult, hops: Sequence[int], offset: float, width: float, coloured: Sequence[str]
) -> None:
    known = [(place, value) for place, value in enumerate(_of_hops(result, each) for each in hops) if value]
    colour = style_of(coloured, result.method)["color"] if result.method in coloured else GREY
    at, means = [place + offset for place, _ in known], [value.mean for _, value in known]
    whiskers = [[value.mean - value.low for _, value in known], [value.high - value.mean for _, value in known]]
    axes.bar(at, means, width * 0.92, label=display(result.method), color=colour)
    if len(result.seeds) > 1:
        axes.errorbar(at, means, yerr=whiskers, fmt="none", ecolor="#222222", elinewidth=0.9, capsize=2)
    for x, (_, value) in zip(at, known, strict=True):
        axes.text(x, value.high + 0.015, f"{100 * value.mean:.0f}", ha="center", fontsize=6.5, color="#333333")


def _dots(results: Sequence[MethodResult], counts: dict[int, int], seeds: str, caption: Caption) -> "Figure":
    """A panel for each number of hops, a row for each method, a grey line at the reference."""
    told = f"Test questions, greedy. Dot: mean over {seeds} seeds; line: lowest to highest seed."
    reference = next((each for each in results if each.method == curves.REFERENCE), None)
    told += f" Grey: {display(reference.method)}." if reference else ""
    height = 0.19 * len(results) + 0.6
    figure, axes = panels(_EM, caption(told), len(counts), len(counts), (2.1, height))
    for panel, (hops, questions) in zip(axes, counts.items(), strict=True):
        _column(panel, results, hops, _of_hops(reference, hops) if reference else None)
        panel.set_title(_hops_name(hops, questions), fontsize=8)
    axes[0].set_yticks(range(len(results)), [display(each.method) for each in results], fontsize=7)
    axes[0].invert_yaxis()
    return figure


def _column(axes: "Axes", results: Sequence[MethodResult], hops: int, reference: Spread | None) -> None:
    if reference:
        axes.axvline(reference.mean, color=GREY, linewidth=1.0)
    for place, result in enumerate(results):
        value = _of_hops(result, hops)
        if value:
            colour = style_of([result.method], result.method)["color"] if result.seeds else GREY
            axes.plot([value.low, value.high], [place, place], color=colour, linewidth=1.4)
            axes.plot([value.mean], [place], "o", color=colour, markersize=3.5)
    axes.set_xlim(0, 1.02)
    axes.set_xticks([0, 0.5, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def write(
    evaluations: Sequence[Evaluation],
    training: Sequence[TrainingRun],
    examined: Sequence[Examined],
    out: Path,
    validation_questions: int,
    bases: Sequence[str] = (),
) -> list[Path]:
    """Write the figures that the inputs allow, and curves.csv, below `out`. Returns the paths.

    validation_questions: how many were asked at each validation. bases: the methods that others are compared with.
    """
    results = group(evaluations)
    synthetic = results[0].evaluations[0].subject.synthetic
    figures: dict[str, Callable[[], Figure | None]] = {
        curve.file: partial(curves.draw, training, curve, validation_questions, synthetic) for curve in curves.CURVES
    }
    cut = any(result.partial for result in results)
    figures["em_by_hops"] = partial(hops, results, synthetic, cut)
    figures["differences"] = partial(forest.draw, differences(results, bases), synthetic, cut)
    figures["information_gain"] = partial(credit_figures.gains, examined, synthetic)
    figures["advantage_mass"] = partial(credit_figures.mass, examined, synthetic)
    written: list[Path] = []
    with matplotlib.rc_context(STYLE):
        for name, draw in figures.items():
            figure = draw()
            written += save(figure, out, name) if figure else []
    write_text(out / "curves.csv", curves.as_csv(training))
    return [*written, out / "curves.csv"]
