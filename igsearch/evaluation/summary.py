"""Means over question records: the only place where they are taken.

Every figure is a mean over single records. A mean of batch means weighs a last, short batch as much as a full one:
averaged over batches of 124 and 1, Bamboogle's 36 right answers of 125 come out as 64.1 % instead of 28.8 %.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from statistics import fmean
from typing import Any

from igsearch.records import BENCHMARKS, EndReason, QuestionRecord

METRICS = ("em", "f1", "cover_em")
_MORE = ("retrieval_hit", "first_query_useful", "searches", "searches_without_new_passage", "sampled_tokens")


def counted(records: Iterable[QuestionRecord]) -> list[QuestionRecord]:
    """The records that enter a mean: a failed retriever is an error of the set-up, not a wrong answer."""
    return [record for record in records if record.end is not EndReason.RETRIEVER_FAILED]


def mean_of(records: Iterable[QuestionRecord], value: Callable[[QuestionRecord], float | bool | None]) -> float | None:
    """Mean of `value` over the counted records for which it is known; None where it is known for none."""
    values = [float(each) for each in map(value, counted(records)) if each is not None]
    return fmean(values) if values else None


def by_benchmark(records: Iterable[QuestionRecord]) -> dict[str, list[QuestionRecord]]:
    """Records by benchmark, in the order of BENCHMARKS; benchmarks without records are left out."""
    groups: dict[str, list[QuestionRecord]] = {name: [] for name in BENCHMARKS}
    for record in records:
        groups[record.benchmark].append(record)
    return {name: group for name, group in groups.items() if group}


def by_hops(records: Iterable[QuestionRecord]) -> dict[int, list[QuestionRecord]]:
    """Records by number of hops, ascending; those whose number is unknown are left out."""
    groups: dict[int, list[QuestionRecord]] = {}
    for record in records:
        if record.hops is not None:
            groups.setdefault(record.hops, []).append(record)
    return dict(sorted(groups.items()))


def _average(means: Iterable[float | None]) -> float | None:
    """Their unweighted mean; None where one of them is unknown, and for none."""
    listed = list(means)
    known = [each for each in listed if each is not None]
    return fmean(known) if known and len(known) == len(listed) else None


def macro(records: Sequence[QuestionRecord], value: Callable[[QuestionRecord], float | bool | None]) -> float | None:
    """Unweighted mean of the benchmarks' means (the tables' average); None where a benchmark has no such mean."""
    return _average(mean_of(group, value) for group in by_benchmark(records).values())


class Mean:
    """The mean of values that pass one at a time: to the last bit `fmean` of all of them, in whatever order they come.

    It keeps how often each distinct value came. Scores and counts have few, however many records there are.
    """

    def __init__(self) -> None:
        self._times: Counter[float] = Counter()

    def add(self, value: float) -> None:
        """Count a value in."""
        self._times[value] += 1

    @property
    def count(self) -> int:
        """How many values there were."""
        return self._times.total()

    @property
    def value(self) -> float | None:
        """The mean; None without values."""
        exact = sum(Fraction(value) * times for value, times in self._times.items())
        return float(exact) / self.count if self.count else None


class Tally:
    """Figures of one group of records that pass one at a time."""

    def __init__(self) -> None:
        self._ends: Counter[EndReason] = Counter()
        self._means = {name: Mean() for name in (*METRICS, *_MORE)}

    def add(self, record: QuestionRecord) -> None:
        """Count a record in; a failed retriever and what is unknown enter no mean."""
        self._ends[record.end] += 1
        if record.end is EndReason.RETRIEVER_FAILED:
            return
        for name, mean in self._means.items():
            value = getattr(record, name)
            if value is not None:
                mean.add(value)

    @property
    def count(self) -> int:
        """All questions asked."""
        return self._ends.total()

    @property
    def failed(self) -> int:
        """Those of them whose retriever failed."""
        return self._ends[EndReason.RETRIEVER_FAILED]

    def mean(self, name: str) -> float | None:
        """Mean of a field over the records for which it is known; None where it is known for none."""
        return self._means[name].value

    def as_json(self) -> dict[str, Any]:
        """n, failed, EM, F1, cover-EM, retrieval, effort and the end reasons. Means are over what did not fail."""
        ends = {reason.value: self._ends[reason] for reason in EndReason if self._ends[reason]}
        means = {name: self.mean(name) for name in self._means}
        return {"n": self.count, "failed": self.failed, **means, "end_reasons": ends}


class Summary:
    """Figures by benchmark, by hops and over all records, which pass one at a time."""

    def __init__(self) -> None:
        self.all = Tally()
        self._benchmarks: dict[str, Tally] = {}
        self._hops: dict[int, Tally] = {}

    def add(self, record: QuestionRecord) -> None:
        """Count a record in."""
        self.all.add(record)
        self._benchmarks.setdefault(record.benchmark, Tally()).add(record)
        if record.hops is not None:
            self._hops.setdefault(record.hops, Tally()).add(record)

    def as_json(self) -> dict[str, Any]:
        """All figures, benchmarks in the order of BENCHMARKS, and `average`, the unweighted mean of the benchmarks."""
        groups = {name: self._benchmarks[name] for name in BENCHMARKS if name in self._benchmarks}
        average = {name: _average(group.mean(name) for group in groups.values()) for name in METRICS}
        return {
            "benchmarks": {name: group.as_json() for name, group in groups.items()},
            "hops": {str(hops): group.as_json() for hops, group in sorted(self._hops.items())},
            "all": self.all.as_json(),
            "average": {**average, "benchmarks": len(groups)},
        }


def summarise(records: Iterable[QuestionRecord]) -> dict[str, Any]:
    """The figures of `Summary`, of records that are gone through once."""
    summary = Summary()
    for record in records:
        summary.add(record)
    return summary.as_json()
