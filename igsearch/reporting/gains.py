"""What information gain pays for: whether what a search found says the answer, or the policy itself."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from igsearch.evaluation.statistics import bootstrap
from igsearch.reporting import table as t
from igsearch.reporting.examined import Examined, Gain
from igsearch.reporting.results import display
from igsearch.reporting.table import Table

KINDS: Mapping[str | None, str] = {
    "documents": "the documents say the answer",
    "refine": "only the refine says it",
    None: "neither does",
}
"""By where a gold answer stands as whole words."""


def _by_question(gains: Sequence[Gain], bare: bool) -> list[float]:
    """The mean of each question's searches, since those of one question are alike."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for each in gains:
        value = each.without_refine if bare else each.gain
        if value is not None:
            values[each.uid].append(value)
    return list(map(fmean, values.values()))


def _figures(gains: Sequence[Gain], key: str) -> dict[str, Any]:
    with_refine, without = (_by_question(gains, bare) for bare in (False, True))
    low, high = bootstrap(with_refine, key) if len(with_refine) > 1 else (None, None)
    return {
        "searches": len(gains),
        "questions": len(with_refine),
        "gain": fmean(with_refine) if with_refine else None,
        "gain_95_low": low,
        "gain_95_high": high,
        "gain_without_refine": fmean(without) if without else None,
    }


def _signed(value: float | None) -> str:
    return t.ABSENT if value is None else f"{value:+.2f}"


def _span(of: Mapping[str, Any]) -> str:
    low, high = of["gain_95_low"], of["gain_95_high"]
    return t.ABSENT if low is None else f"{low:+.2f} to {high:+.2f}"


def gains_table(examined: Sequence[Examined], title: str) -> Table | None:
    """The mean gain of searches by where the answer stands, a row for each method and place; None without any."""
    rows, data = [], []
    for each in (each for each in examined if each.gains):
        for kind, label in KINDS.items():
            of = _figures([gain for gain in each.gains if gain.answer_in == kind], f"{each.method} {kind}")
            cells = (str(of["searches"]), str(of["questions"]), _signed(of["gain"]), _span(of))
            rows.append((display(each.method), label, *cells, _signed(of["gain_without_refine"])))
            data.append({"method": each.method, "seed": each.seed, "answer_in": kind or "neither", **of})
    if not rows:
        return None
    return Table(
        title=title,
        columns=("method", "where the answer stands", "searches", "questions", "gain", "95 %", "without refine"),
        rows=tuple(rows),
        notes=(
            "Information gain of the searches of sampled rollouts on test questions, one training seed a method, in "
            "nats per weighted answer token, measured in one way for all methods; mean of the questions' means and its "
            "95 % interval over questions. A gold answer stands where it occurs as whole words. without refine: with "
            "what the policy wrote about the documents left out of the real and of the random contexts.",
        ),
        data=tuple(data),
        left=2,
    )
