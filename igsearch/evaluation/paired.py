"""Two evaluations question by question: their means side by side and the mean difference with its 95 % interval.

Both means are taken over the same questions: those that both were asked and whose retriever failed for neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean

from igsearch.evaluation.statistics import bootstrap, macro_interval
from igsearch.evaluation.summary import METRICS, by_benchmark, counted
from igsearch.records import QuestionRecord

EFFORT = ("searches", "sampled_tokens")
FIELDS = (*METRICS, *EFFORT)
"""The fields of QuestionRecord that are compared."""

Pair = tuple[QuestionRecord, QuestionRecord]


@dataclass(frozen=True, slots=True)
class Paired:
    """Means of two evaluations over the same `n` questions, the difference second minus first, and its 95 % interval
    (`low`, `high`) over questions."""

    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float


def pairs(first: Iterable[QuestionRecord], second: Iterable[QuestionRecord]) -> list[Pair]:
    """The records of the common questions, in the order of `first`: those of one id and one text, as files of other
    data may number theirs alike."""
    theirs = {(record.uid, record.question): record for record in counted(second)}
    keyed = [((record.uid, record.question), record) for record in counted(first)]
    return [(record, theirs[key]) for key, record in keyed if key in theirs]


def _benchmarks(found: Sequence[Pair]) -> dict[str, list[Pair]]:
    names = by_benchmark(first for first, _ in found)
    return {name: [pair for pair in found if pair[0].benchmark == name] for name in names}


def _values(found: Sequence[Pair], name: str) -> tuple[list[float], list[float], list[float]]:
    field = attrgetter(name)
    first, second = [float(field(a)) for a, _ in found], [float(field(b)) for _, b in found]
    return first, second, [b - a for a, b in zip(first, second, strict=True)]


def _of_benchmark(found: Sequence[Pair], name: str, key: str) -> Paired:
    first, second, differences = _values(found, name)
    # the key holds no name of a run: a pair of runs swapped gives the interval mirrored
    low, high = bootstrap(differences, f"paired {key} {name}")
    return Paired(len(found), fmean(first), fmean(second), fmean(differences), low, high)


def _average(of: Mapping[str, Paired], groups: Mapping[str, Sequence[Pair]], name: str) -> Paired:
    """The unweighted mean of the benchmarks."""
    first, second = fmean(each.first for each in of.values()), fmean(each.second for each in of.values())
    low, high = macro_interval({key: _values(found, name)[2] for key, found in groups.items()})
    return Paired(sum(each.n for each in of.values()), first, second, second - first, low, high)


def compare(found: Sequence[Pair], name: str) -> dict[str, Paired]:
    """A field by benchmark, in their order, and `average`, the unweighted mean of the benchmarks. At least one pair."""
    groups = _benchmarks(found)
    of = {key: _of_benchmark(members, name, key) for key, members in groups.items()}
    return {**of, "average": _average(of, groups, name)}
