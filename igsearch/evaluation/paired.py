"""Evaluations of two methods question by question: their means side by side, and what their difference is worth.

Both means are taken over the same questions: those that every one of the evaluations was asked and whose retriever
failed in none. Trained models are paired by their training seed: runs of one seed share the order of the questions and
the keys of every draw.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from operator import attrgetter
from typing import TypeVar

import numpy as np

from igsearch.evaluation.referee import Estimate, FloatArray, averages, estimates, figures_by_seed
from igsearch.evaluation.store import Evaluation
from igsearch.evaluation.summary import METRICS, by_benchmark, counted
from igsearch.records import QuestionRecord

EFFORT = ("searches", "sampled_tokens")
FIELDS = (*METRICS, *EFFORT)
"""The fields of QuestionRecord that are compared."""

T = TypeVar("T")
Pair = tuple[QuestionRecord, QuestionRecord]
Runs = tuple[Evaluation, Evaluation]


@dataclass(frozen=True, slots=True)
class Paired:
    """Means of two methods over the same questions and seeds, and the difference, second minus first."""

    first: float
    second: float
    difference: Estimate


def paired_runs(first: Sequence[Evaluation], second: Sequence[Evaluation]) -> list[Runs]:
    """The evaluations of two methods side by side, by training seed; one evaluation and another as they are.

    A policy without seeds stands beside every seed of the other method. Empty where they have no seed in common.
    """
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    mine, theirs = ({each.subject.seed: each for each in of} for of in (first, second))
    if len(mine) == 1 and None in mine:
        return [(mine[None], theirs[seed]) for seed in _seeds(theirs)]
    if len(theirs) == 1 and None in theirs:
        return [(mine[seed], theirs[None]) for seed in _seeds(mine)]
    return [(mine[seed], theirs[seed]) for seed in _seeds(mine) if seed in theirs]


def _seeds(of: Iterable[int | None]) -> list[int]:
    return sorted(seed for seed in of if seed is not None)


def pairs(first: Iterable[QuestionRecord], second: Iterable[QuestionRecord]) -> list[Pair]:
    """The records of the common questions, in the order of `first`: those of one id and one text, as files of other
    data may number theirs alike."""
    theirs = {(record.uid, record.question): record for record in counted(second)}
    keyed = [((record.uid, record.question), record) for record in counted(first)]
    return [(record, theirs[key]) for key, record in keyed if key in theirs]


def matched(runs: Sequence[Runs]) -> list[list[Pair]]:
    """`pairs` of each seed, of the questions that all seeds have in common; every list in the same order."""
    return aligned(
        [{(a.uid, a.question): (a, b) for a, b in pairs(mine.records, theirs.records)} for mine, theirs in runs]
    )


def aligned(found: Sequence[Mapping[Hashable, T]]) -> list[list[T]]:
    """The values of the keys that all have in common, in the order of the first."""
    common = [key for key in found[0] if all(key in of for of in found)] if found else []
    return [[of[key] for key in common] for of in found]


def scores(records: Sequence[Sequence[QuestionRecord]], name: str) -> dict[str, FloatArray]:
    """A field of the records of each seed as (S, Q) by benchmark, in their order. All seeds hold the same questions in
    the same order."""
    field, columns = attrgetter(name), {}
    for benchmark in by_benchmark(records[0]):
        rows = [[float(field(each)) for each in of if each.benchmark == benchmark] for of in records]
        columns[benchmark] = np.array(rows)
    return columns


def compare(found: Sequence[Sequence[Pair]], name: str) -> dict[str, Paired]:
    """A field of the pairs of each seed: by benchmark, in their order, then both averages.

    found: as `matched` gives them, at least one pair.
    """
    first = scores([[a for a, _ in of] for of in found], name)
    second = scores([[b for _, b in of] for of in found], name)
    # the key holds no name of a run: a pair of methods swapped draws the same
    subtracted = {each: second[each] - first[each] for each in first}
    differences = estimates(subtracted, f"paired {name}", largest=1.0 if name in METRICS else inf)
    return {
        figure: Paired(_mean(first, weights), _mean(second, weights), differences[figure])
        for figure, weights in averages(first).items()
    }


def _mean(of: Mapping[str, FloatArray], weights: Mapping[str, float]) -> float:
    return float(figures_by_seed(of, weights).mean())
