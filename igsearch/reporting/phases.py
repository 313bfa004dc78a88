"""Where the time of a training step goes, by phase. Times differ from machine to machine: they stand in no table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from igsearch.reporting.figure import GREY, colour, rows_of_panels
from igsearch.reporting.results import display

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASES = {
    "rollout": "rollouts",
    "retrieval": "retrieval",
    "outcome_reward": "outcome reward",
    "information_gain": "information gain",
    "signals": "other signals",
    "kl": "logged KL",
    "update": "update",
}
"""The phases `seconds/<name>` of a step, in the order in which they come, with their names for readers."""
_HATCHES = ("", "", "", "////", "....", "", "")


def _colour(place: int) -> str:
    return GREY if place == len(PHASES) - 1 else colour(place)


def draw(seconds: Mapping[str, Mapping[str, float]], told: str) -> "Figure | None":
    """Seconds of a step by phase for each method, and the share of information gain beside them; None where none is
    known. `told`: what was measured, for the caption."""
    shown = {method: of for method, of in seconds.items() if any(of.get(phase) for phase in PHASES)}
    if not shown:
        return None
    names = [display(method) for method in shown]
    figure, (axes,) = rows_of_panels("Seconds of a training step, by phase", told, names, 1)
    begin, places = np.zeros(len(shown)), range(len(shown))
    for number, (phase, label) in enumerate(PHASES.items()):
        parts = np.array([of.get(phase, 0.0) for of in shown.values()])
        if parts.any():
            look: dict[str, Any] = {
                "color": _colour(number),
                "hatch": _HATCHES[number],
                "edgecolor": "white",
                "label": label,
            }
            axes.barh(places, parts, 0.62, left=begin, **look)
            begin += parts
    for place, of in enumerate(shown.values()):
        gain = of.get("information_gain", 0.0) / begin[place]
        if gain:
            axes.text(begin[place], place, f" {gain:.0%} gain", va="center", fontsize=7, color="#333333")
    axes.set_xlim(0, 1.14 * max(begin))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=7, columnspacing=0.8, handlelength=1.1, fontsize=6.8)
    return figure
