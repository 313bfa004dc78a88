"""Means over question records: the only place where they are taken.

Every figure is a mean over single records. A mean of batch means weighs a last, short batch as much as a full one:
averaged over batches of 124 and 1, Bamboogle's 36 right answers of 125 come out as 64.1 % instead of 28.8 %.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

from igsearch.records import BENCHMARKS, EndReason, QuestionRecord

METRICS = ("em", "f1", "cover_em")


def counted(records: Iterable[QuestionRecord]) -> list[QuestionRecord]:
    """The records that enter a mean: a failed retriever is an error of the set-up, not a wrong answer."""
    return [record for record in records if record.end is not EndReason.RETRIEVER_FAILED]


def mean_of(records: Iterable[QuestionRecord], value: Callable[[QuestionRecord], float | bool | None]) -> float | None:
    """Mean of `value` over the counted records for which it is known; None where it is known for none."""
    values = [float(each) for each in map(value, counted(records)) if each is not None]
    return fmean(values) if values else None


def describe(records: Sequence[QuestionRecord]) -> dict[str, Any]:
    """Figures of one group of records: n, failed, EM, F1, cover-EM, retrieval, effort and the end reasons.

    `n` counts all questions asked, `failed` those among them whose retriever failed; means are over the rest.
    """
    ends = Counter(record.end for record in records)
    return {
        "n": len(records),
        "failed": ends[EndReason.RETRIEVER_FAILED],
        "em": mean_of(records, lambda record: record.em),
        "f1": mean_of(records, lambda record: record.f1),
        "cover_em": mean_of(records, lambda record: record.cover_em),
        "retrieval_hit": mean_of(records, lambda record: record.retrieval_hit),
        "first_query_useful": mean_of(records, lambda record: record.first_query_useful),
        "searches": mean_of(records, lambda record: record.searches),
        "searches_without_new_passage": mean_of(records, lambda record: record.searches_without_new_passage),
        "sampled_tokens": mean_of(records, lambda record: record.sampled_tokens),
        "end_reasons": {reason.value: ends[reason] for reason in EndReason if ends[reason]},
    }


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


def macro(records: Sequence[QuestionRecord], value: Callable[[QuestionRecord], float | bool | None]) -> float | None:
    """Unweighted mean of the benchmarks' means (the tables' average); None where a benchmark has no such mean."""
    means = [mean_of(group, value) for group in by_benchmark(records).values()]
    known = [each for each in means if each is not None]
    return fmean(known) if known and len(known) == len(means) else None


_TALLIED = (
    *METRICS,
    "retrieval_hit",
    "first_query_useful",
    "searches",
    "searches_without_new_passage",
    "sampled_tokens",
)


class Tally:
    """The figures of `describe` from records that pass one at a time: 8 bytes are kept of each value, no text."""

    def __init__(self) -> None:
        self._ends: Counter[EndReason] = Counter()
        self._values = {name: array("d") for name in _TALLIED}

    def add(self, record: QuestionRecord) -> None:
        """Count a record in; a failed retriever enters no mean."""
        self._ends[record.end] += 1
        if record.end is EndReason.RETRIEVER_FAILED:
            return
        for name, values in self._values.items():
            value = getattr(record, name)
            if value is not None:
                values.append(value)

    @property
    def failed(self) -> int:
        """Records whose retriever failed."""
        return self._ends[EndReason.RETRIEVER_FAILED]

    @property
    def count(self) -> int:
        """All records."""
        return self._ends.total()

    def mean(self, name: str) -> float | None:
        """Mean of a field over the records for which it is known; None where it is known for none."""
        return fmean(self._values[name]) if self._values[name] else None

    def describe(self) -> dict[str, Any]:
        """As `describe`."""
        ends = {reason.value: self._ends[reason] for reason in EndReason if self._ends[reason]}
        means = {name: self.mean(name) for name in _TALLIED}
        return {"n": self.count, "failed": self.failed, **means, "end_reasons": ends}


class Summary:
    """The figures of `summarise` from records that pass one at a time."""

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
        """Figures by benchmark, by hops, over all records, and the unweighted average of the benchmarks."""
        groups = {name: self._benchmarks[name] for name in BENCHMARKS if name in self._benchmarks}
        average = {name: self._macro([each.mean(name) for each in groups.values()]) for name in METRICS}
        return {
            "benchmarks": {name: each.describe() for name, each in groups.items()},
            "hops": {str(hops): each.describe() for hops, each in sorted(self._hops.items())},
            "all": self.all.describe(),
            "average": {**average, "benchmarks": len(groups)},
        }

    @staticmethod
    def _macro(means: Sequence[float | None]) -> float | None:
        known = [each for each in means if each is not None]
        return fmean(known) if known and len(known) == len(means) else None


def summarise(records: Iterable[QuestionRecord]) -> dict[str, Any]:
    """Figures by benchmark, by hops, over all records, and the unweighted average of the benchmarks."""
    summary = Summary()
    for record in records:
        summary.add(record)
    return summary.as_json()
