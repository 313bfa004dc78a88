"""The published differences as a forest plot: a model a panel, the corrected figures below the printed ones."""

from textwrap import fill
from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

from igsearch.evaluation.power import RHOS
from igsearch.reporting.figure import GREY, colour, explain
from igsearch.reporting.published_referee import MODELS, Comparison, compare, ours, rivals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CAPTION = (
    "Published macro average EM of IG-Search minus that of each other method. Thin line: 95 % interval over questions "
    "if outcomes on one question are independent (rho 0); thick: if they correlate by .7. Filled: p below .05 after "
    "Holm's correction over the panel at rho 0; open: only at a larger rho; grey: at none. Diamond: with the other "
    "method's Bamboogle over questions, where the printed figure fits a mean of batch means. Assumed: independent "
    "questions, one run each, no seed variance. Nothing of this was measured here."
)


def draw() -> "Figure":
    """A panel for each model of MODELS, its methods from the closest difference below to the largest at the bottom."""
    pairs = {model: _pairs(model) for model in MODELS}
    heights = [len(of) for of in pairs.values()]
    figure, grid = plt.subplots(
        len(MODELS),
        1,
        figsize=(6.8, 0.23 * sum(heights) + 2.2),
        layout="constrained",
        sharex=True,
        height_ratios=heights,
    )
    figure.suptitle("Published: IG-Search minus others, in points", x=0.01, ha="left", fontsize=10, fontweight="bold")
    explain(figure, fill(_CAPTION, 112))
    for axes, (model, found) in zip(grid, pairs.items(), strict=True):
        axes.set_title(model, fontsize=9)
        _panel(axes, found)
    grid[-1].set_xlabel("points", fontsize=8.5)
    return figure


def _pairs(model: str) -> list[tuple[Comparison, Comparison | None]]:
    """Each printed difference with its corrected one, if there is one, by size."""
    printed, corrected = (compare(ours(model), rivals(model, each)) for each in (False, True))
    pairs = [(a, b if b.other.corrected else None) for a, b in zip(printed, corrected, strict=True)]
    return sorted(pairs, key=lambda pair: pair[0].difference)


def _panel(axes: "Axes", pairs: list[tuple[Comparison, Comparison | None]]) -> None:
    axes.set_yticks(range(len(pairs)), [printed.other.label for printed, _ in pairs], fontsize=7.5)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color="#222222", linewidth=0.8)
    for place, (printed, corrected) in enumerate(pairs):
        _mark(axes, printed, place - (0.18 if corrected else 0), "o")
        if corrected:
            _mark(axes, corrected, place + 0.22, "D")


def _mark(axes: "Axes", found: Comparison, place: float, marker: str) -> None:
    start = found.stands_from
    look = GREY if start is None else colour(0 if found.difference > 0 else 1)
    for rho, width in ((RHOS[0], 0.9), (RHOS[-1], 2.4)):
        low, high = found.interval(rho)
        axes.plot([100 * low, 100 * high], [place, place], color=look, linewidth=width, solid_capstyle="butt")
    size, face = (4.5 if marker == "o" else 4.0), look if start == RHOS[0] else "white"
    axes.plot(100 * found.difference, place, marker, color=look, markerfacecolor=face, markersize=size)
