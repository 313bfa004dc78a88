"""What all figures share: colours, the frame with its caption, and how a method is told from the others."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 4
"""With more methods than this each gets a panel of its own: lines over one another cannot be told apart."""

# Okabe and Ito's colours, told apart with every common colour blindness; markers and dashes tell them apart in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS, _DASHES = "osD^vP*", ("-", "--", "-.", ":")
GREY = "#8C8C8C"
STYLE: dict[Any, Any] = {
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


def style_of(methods: Sequence[str], method: str) -> dict[str, Any]:
    """Colour and dashes of a method among `methods`."""
    place = list(methods).index(method)
    return {"color": _COLOURS[place % len(_COLOURS)], "linestyle": _DASHES[place % len(_DASHES)]}


def colour(place: int) -> str:
    """The colour at a place."""
    return _COLOURS[place % len(_COLOURS)]


def marker_of(methods: Sequence[str], method: str) -> str:
    """The marker of a method among `methods`."""
    return _MARKERS[list(methods).index(method) % len(_MARKERS)]


def caption_of(text: str, synthetic: bool, partial: bool = False) -> str:
    """The caption, with what must not be overlooked: made data, and evaluations that did not ask every question."""
    return f"{'PARTIAL. ' if partial else ''}{'Synthetic data. ' if synthetic else ''}{text}"


def explain(figure: "Figure", caption: str) -> None:
    """The caption below a figure, its lines as they are broken."""
    figure.supxlabel(caption, fontsize=7.5, color="#555555", x=0.01, ha="left")


def frame(title: str, caption: str) -> tuple["Figure", "Axes"]:
    """One axes with its title, the caption below."""
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.set_title(title)
    explain(figure, caption)
    return figure, axes


def panels(
    title: str, caption: str, count: int, columns: int, size: tuple[float, float]
) -> tuple["Figure", list["Axes"]]:
    """`count` axes of `size` inches in rows of `columns`, with shared scales, a title above and the caption below."""
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows + 0.8),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    explain(figure, caption)
    axes = [each for row in grid for each in row]
    for spare in axes[count:]:
        spare.set_visible(False)
    for last in axes[max(0, count - columns) : count]:
        last.tick_params(labelbottom=True)
    return figure, axes[:count]


def rows_of_panels(title: str, caption: str, names: Sequence[str], columns: int) -> tuple["Figure", list["Axes"]]:
    """`columns` axes side by side with a row for each of `names` from the top, which stand at the left."""
    height = 0.34 * len(names) + 1.5
    figure, grid = plt.subplots(
        1, columns, figsize=(6.8, height), layout="constrained", sharey=True, sharex=True, squeeze=False
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    explain(figure, fill(caption, 112))
    first = grid[0][0]
    first.set_yticks(range(len(names)), names, fontsize=7.5)
    first.set_ylim(len(names) - 0.4, -0.6)
    for axes in grid[0]:
        axes.grid(visible=False, axis="y")
    return figure, list(grid[0])
