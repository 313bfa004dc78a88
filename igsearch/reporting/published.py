"""What others have published on these seven benchmarks, each row with its source and what it cannot be compared to.

None of it was measured here. The rows differ in model, training data, retriever, test subset and metric, so they stand
in a table of their own.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean

from igsearch.records import BENCHMARKS

_COLUMNS = {**{name: name for name in BENCHMARKS}, "2wikimultihopqa": "2wiki"}
_JUDGE, _F1, _F1_SOURCE, _EM = "[LLM-judge", ("[F1]", "[word-F1"), "metric=F1", "[EM"
_DERIVED, _SUBSET = ("NOT published", "not published", "inferred"), ("sampled test sets", "test subset")
_AVERAGE_TOLERANCE = 0.0015


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published row. `scores` by benchmark and `average` lie in [0, 1]; None where not printed.

    metric: `EM`, `F1` or `LLM judge`. obstacles: why it cannot stand beside EM on the whole test sets. remarks: what
    else to know before believing it. bamboogle_over_questions: what a Bamboogle figure that is a mean of batch means
    would be as a mean over questions (our arithmetic; docs/footguns.md), None for all other rows.
    """

    method: str
    model: str
    variant: str
    scores: Mapping[str, float | None]
    average: float | None
    metric: str
    source: str
    obstacles: tuple[str, ...]
    remarks: tuple[str, ...]
    bamboogle_over_questions: float | None = None

    @property
    def average_over_questions(self) -> float | None:
        """The average with the corrected Bamboogle; None where there is nothing to correct, or a score is unknown."""
        corrected = {**self.scores, "bamboogle": self.bamboogle_over_questions}
        known = [score for score in corrected.values() if score is not None]
        return fmean(known) if len(known) == len(corrected) else None

    @property
    def comparable(self) -> bool:
        """Whether the row is published EM on whole test sets."""
        return not self.obstacles


def _right_in_the_first_batch(score: float, questions: int) -> int:
    return round((2 * score - 1) * (questions - 1))


def fits_mean_of_batch_means(score: float, questions: int = 125) -> bool:
    """Whether a printed Bamboogle figure is (k/124 + 1)/2 for a whole k, and k/125 for none, to three decimals.

    That is what a mean over batches of 124 and 1 gives when the last question happens to be right.
    """
    right = _right_in_the_first_batch(score, questions)
    batched = (right / (questions - 1) + 1) / 2
    plain = round(score * questions) / questions
    return right >= 0 and abs(batched - score) < 0.0006 and abs(plain - score) >= 0.0006


def over_questions(score: float, questions: int = 125) -> float:
    """The mean over questions behind a mean over batches of 124 and 1 whose last question was right: (k + 1)/125."""
    return (_right_in_the_first_batch(score, questions) + 1) / questions


def _metric(method: str, source: str) -> str:
    if _JUDGE in method:
        return "LLM judge"
    is_f1 = any(mark in method for mark in _F1) or (_F1_SOURCE in source and _EM not in method)
    return "F1" if is_f1 else "EM"


def _obstacles(metric: str, told: str) -> tuple[str, ...]:
    found = [] if metric == "EM" else [f"{metric}, not EM"]
    if any(mark in told for mark in _DERIVED):
        found.append("derived, not published")
    if any(mark in told for mark in _SUBSET):
        found.append("a subset of the test questions")
    return tuple(found)


def _corrected(bamboogle: float | None, metric: str) -> float | None:
    fits = metric == "EM" and bamboogle is not None and fits_mean_of_batch_means(bamboogle)
    return over_questions(bamboogle) if fits and bamboogle is not None else None


def _remarks(scores: Mapping[str, float | None], average: float | None, metric: str) -> tuple[str, ...]:
    found, known = [], [score for score in scores.values() if score is not None]
    corrected = _corrected(scores["bamboogle"], metric)
    if corrected is not None:
        found.append(f"Bamboogle fits a mean of batch means, {corrected:.3f} over questions")
    if average is not None and len(known) == len(scores) and abs(fmean(known) - average) > _AVERAGE_TOLERANCE:
        found.append(f"the mean of the row is {fmean(known):.3f}")
    return tuple(found)


def _row(cells: Mapping[str, str]) -> PublishedRow:
    scores = {name: float(cells[column]) if cells[column] else None for name, column in _COLUMNS.items()}
    average = float(cells["avg"]) if cells["avg"] else None
    method, source = cells["method"], cells["source"]
    metric = _metric(method, source)
    return PublishedRow(
        method=method,
        model=cells["model"],
        variant=cells["base_or_instruct"],
        scores=scores,
        average=average,
        metric=metric,
        source=source,
        obstacles=_obstacles(metric, f"{method} {source}"),
        remarks=_remarks(scores, average, metric),
        bamboogle_over_questions=_corrected(scores["bamboogle"], metric),
    )


@cache
def published() -> tuple[PublishedRow, ...]:
    """All rows, in the order of the file."""
    text = files("igsearch.reporting").joinpath("published_results.csv").read_text(encoding="utf-8")
    return tuple(_row(cells) for cells in csv.DictReader(text.split("\n")))
