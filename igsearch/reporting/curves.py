"""Metrics over training steps, mean and range over seeds: one axes for a few methods, a panel each for many."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator, PercentFormatter

from igsearch.reporting.figure import GREY, MANY, caption_of, frame, marker_of, panels, style_of
from igsearch.reporting.results import TrainingRun, by_method, display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Runs = Mapping[str, Sequence[TrainingRun]]

REFERENCE = "grpo"
"""The method that stands in grey behind each of many."""
_COLUMNS, _PANEL = 4, (2.3, 1.75)
_SMOOTHING = 5
_BAND = "Line: mean over seeds; band: lowest to highest seed."
_VALIDATION, _TRAINING = "{n} validation questions, greedy.", f"Training batches, moving mean over {_SMOOTHING} steps."


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of the training history as it is drawn. `width`: of the moving mean, in steps."""

    file: str
    metric: str
    title: str
    ylabel: str
    told: str
    width: int = 1


CURVES = (
    Curve("learning_curves", "validation/em", "Exact match during training", "exact match, validation", _VALIDATION),
    Curve(
        "uniform_groups",
        "reward/uniform_groups",
        "Groups in which all rollouts have the same reward",
        "share of groups",
        _TRAINING,
        _SMOOTHING,
    ),
    Curve(
        "first_query_useful",
        "validation/first_query_useful",
        "First queries that bring the first fact of the chain",
        "share of first queries, validation",
        _VALIDATION,
    ),
    Curve(
        "step_signal",
        "credit/step_share_uniform_groups",
        "The step signal in groups without outcome variance",
        "share of the mass of all advantages",
        _TRAINING,
        _SMOOTHING,
    ),
)
"""What is drawn over steps and written to curves.csv."""


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Centred moving mean over `width` values, over fewer at the ends."""
    half = width // 2
    return [fmean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


def _over_seeds(runs: Sequence[TrainingRun], curve: Curve) -> tuple[list[int], list[tuple[float, ...]]]:
    """The steps that every run logged, and the runs' smoothed values at each."""
    series = [dict(run.series(curve.metric)) for run in runs]
    steps = sorted(set.intersection(*map(set, series))) if series else []
    lines = [smooth([values[step] for step in steps], curve.width) for values in series]
    return steps, list(zip(*lines, strict=True))


def _line(axes: "Axes", runs: Sequence[TrainingRun], curve: Curve, **style: Any) -> None:
    """Mean over seeds as a line, the range as a band."""
    steps, columns = _over_seeds(runs, curve)
    axes.plot(steps, [fmean(column) for column in columns], markersize=4, **style)
    if len(runs) > 1:
        axes.fill_between(steps, [*map(min, columns)], [*map(max, columns)], color=style["color"], alpha=0.15, lw=0)


def _name(method: str, runs: Sequence[TrainingRun]) -> str:
    return f"{display(method)} ({len(runs)} seed{'s' if len(runs) > 1 else ''})"


def _together(runs: Runs, methods: Sequence[str], curve: Curve, caption: str) -> "Figure":
    """One frame. A method looks the same in every figure, whichever of `methods` this one shows."""
    figure, axes = frame(curve.title, caption)
    for method, members in runs.items():
        few = len(_over_seeds(members, curve)[0]) <= 20
        marker = marker_of(methods, method) if few else None
        _line(axes, members, curve, label=_name(method, members), marker=marker, **style_of(methods, method))
    axes.set(xlabel="training step", ylabel=curve.ylabel)
    axes.legend(loc="best")
    return figure


def _apart(runs: Runs, curve: Curve, caption: str) -> "Figure":
    shown = [method for method in runs if method != REFERENCE] if REFERENCE in runs else list(runs)
    grey = f" Grey: {display(REFERENCE)}." if REFERENCE in runs else ""
    figure, axes = panels(curve.title, f"{caption}{grey}", len(shown), _COLUMNS, _PANEL)
    for panel, method in zip(axes, shown, strict=True):
        if REFERENCE in runs:
            _line(panel, runs[REFERENCE], curve, color=GREY, linewidth=1.0)
        _line(panel, runs[method], curve, **style_of([method], method))
        panel.set_title(display(method), fontsize=8)
    figure.supylabel(curve.ylabel, fontsize=9)
    for panel in axes[-_COLUMNS:]:
        panel.set_xlabel("training step")
    return figure


def draw(training: Sequence[TrainingRun], curve: Curve, questions: int, synthetic: bool) -> "Figure | None":
    """The curve of every method that logged it in each of its runs; None where none did.

    `questions`: how many were asked at each validation.
    """
    trained = by_method(training)
    runs = {method: of for method, of in trained.items() if _over_seeds(of, curve)[0]}
    if not runs:
        return None
    caption = caption_of(f"{curve.told.format(n=questions)} {_BAND}", synthetic)
    figure = _apart(runs, curve, caption) if len(runs) > MANY else _together(runs, list(trained), curve, caption)
    for axes in figure.axes:
        axes.set_ylim(0, None)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    return figure


def as_csv(training: Sequence[TrainingRun]) -> str:
    """The drawn curves, unsmoothed: a row per method, seed, metric and step."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "seed", "metric", "step", "value"])
    for run in training:
        for name in (curve.metric for curve in CURVES):
            writer.writerows([run.method, run.seed, name, step, f"{value:.6f}"] for step, value in run.series(name))
    return out.getvalue()
