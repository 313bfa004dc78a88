"""Two figures of examined rollouts: how gains are distributed, and where the mass of the advantages comes from."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from igsearch.reporting.examined import SOURCES, Examined
from igsearch.reporting.figure import GREY, caption_of, colour, rows_of_panels
from igsearch.reporting.results import display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LATE = 3
"""Searches from this one on are drawn together."""
_HATCHES = ("", "////", "....")


def _sample(examined: Sequence[Examined]) -> str:
    questions = " or ".join(map(str, sorted({each.questions for each in examined})))
    return f"Sampled rollouts of {questions} test questions, one training seed a method."


def _split(examined: Examined) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
    """Gains by whether the answer was right, and by the number of the search."""
    outcome: dict[str, list[float]] = {"right answer": [], "wrong answer": []}
    search: dict[str, list[float]] = {"1st search": [], "2nd": [], "3rd and later": []}
    for each in examined.gains:
        outcome["right answer" if each.right else "wrong answer"].append(each.gain)
        search[list(search)[min(each.search, _LATE) - 1]].append(each.gain)
    return outcome, search


def _column(axes: "Axes", rows: Sequence[Mapping[str, list[float]]], title: str) -> None:
    """A line from the 5th to the 95th percentile, a bar from the 25th to the 75th and a dot at the median, of each kind
    in each row."""
    kinds = list(rows[0])
    for place, row in enumerate(rows):
        for kind, values in enumerate(row.values()):
            if values:
                at = place + (kind - (len(kinds) - 1) / 2) * 0.24
                ends = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
                axes.plot(ends[[0, 4]], [at, at], color=colour(kind), linewidth=0.8)
                axes.plot(ends[[1, 3]], [at, at], color=colour(kind), linewidth=3.2, solid_capstyle="butt")
                axes.plot(ends[2], at, "osD"[kind], color="white", markeredgecolor=colour(kind), markersize=3.6)
    keys = [
        Line2D([], [], color=colour(i), marker="osD"[i], markerfacecolor="white", label=k) for i, k in enumerate(kinds)
    ]
    axes.legend(handles=keys, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=1.0, fontsize=7.5)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel(title, fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))


def gains(examined: Sequence[Examined], synthetic: bool) -> "Figure | None":
    """The gain of searches by outcome and by number; None where none was measured."""
    shown = [each for each in examined if each.gains]
    if not shown:
        return None
    told = f"{_sample(shown)} Mark: median; bar: middle half; line: 5th to 95th percentile. All measured in one way."
    figure, (left, right) = rows_of_panels(
        "Information gain of a search, in nats per weighted answer token",
        caption_of(told, synthetic),
        [display(each.method) for each in shown],
        2,
    )
    outcome, search = zip(*map(_split, shown), strict=True)
    _column(left, outcome, "by the outcome of the rollout")
    _column(right, search, "by the number of the search")
    return figure


def mass(examined: Sequence[Examined], synthetic: bool) -> "Figure | None":
    """Shares of the mass of all token advantages by source; None where no rule has a step signal."""
    shown = [each for each in examined if sum(each.mass.values()) > 0]
    if not shown:
        return None
    told = (
        f"{_sample(shown)} Sums of absolute token advantages, by what they come from: the outcome of the rollout, or a "
        "step of it in a group whose outcomes differ or are all the same. Methods without a step signal are left out."
    )
    figure, (axes,) = rows_of_panels(
        "Where the advantages come from", caption_of(told, synthetic), [display(each.method) for each in shown], 1
    )
    begin = np.zeros(len(shown))
    for number, source in enumerate(SOURCES):
        parts = np.array([each.mass.get(source, 0.0) / sum(each.mass.values()) for each in shown])
        axes.barh(
            range(len(shown)), parts, 0.62, left=begin,
            color=GREY if number == 0 else colour(number - 1), hatch=_HATCHES[number], edgecolor="white", label=source,
        )  # fmt: skip
        begin += parts
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=1.0, fontsize=7.5)
    return figure
