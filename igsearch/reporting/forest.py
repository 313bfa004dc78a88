"""The differences of the table as a forest plot: what is supported stands out from what is not."""

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from igsearch.evaluation.referee import TIE, holm, verdict
from igsearch.reporting.differences import Difference
from igsearch.reporting.figure import GREY, caption_of, colour, rows_of_panels
from igsearch.reporting.results import display

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_OUTLIER = 6
"""An interval so many times wider than the median one (a run that collapsed) does not set the scale."""


def _reach(spans: Sequence[tuple[float, float]]) -> float:
    """How far the axis goes to either side; 1 where nothing differs."""
    widths = [high - low for low, high in spans]
    usual = [span for span, width in zip(spans, widths, strict=True) if width <= _OUTLIER * median(widths)]
    return 1.08 * max(max(abs(low), abs(high)) for low, high in usual) or 1.0


def draw(found: Sequence[Difference], synthetic: bool, partial: bool = False) -> "Figure | None":
    """Differences of macro EM in points with their 95 % intervals, ties in grey; None where there are none."""
    if not found:
        return None
    estimates = [each.estimate("em") for each in found]
    adjusted = holm([of.decides.p for of in estimates])
    seeds = " or ".join(map(str, sorted({each.seeds for each in found})))
    alone = "questions alone, for the models as they were trained"
    what = "seeds and questions" if all(of.methods for of in estimates) else alone
    spans = [(100 * of.decides.low, 100 * of.decides.high) for of in estimates]
    reach = _reach(spans)
    told = (
        f"Macro average EM, {seeds} seeds, paired. Line: 95 % interval over {what}. "
        f"Filled: p below .05 after Holm's correction for the {len(found)} comparisons; grey: a tie."
        f"{' Arrow: the interval goes on.' if any(abs(end) > reach for span in spans for end in span) else ''}"
    )
    names = [f"{display(each.method)} − {display(each.base)}" for each in found]
    figure, (axes,) = rows_of_panels(
        "Differences of exact match, in points", caption_of(told, synthetic, partial), names, 1
    )
    for place, (of, p, (low, high)) in enumerate(zip(estimates, adjusted, spans, strict=True)):
        tie = verdict(of.mean, p, True, True) == TIE
        look = GREY if tie else colour(0 if of.mean > 0 else 1)
        axes.plot([max(low, -reach), min(high, reach)], [place, place], color=look, linewidth=1.6)
        for end, marker in ((low, "<"), (high, ">")):
            if abs(end) > reach:
                axes.plot(math.copysign(reach, end), place, marker, color=look, markersize=5, clip_on=False)
        axes.plot(100 * of.mean, place, "o", color=look, markerfacecolor="white" if tie else look, markersize=5)
    axes.set_xlim(-reach, reach)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_xlabel("points", fontsize=8.5)
    return figure
