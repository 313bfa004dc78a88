"""Means over question records: the only place where they are taken.

Every figure is a mean over single records. A mean of batch means weighs a last, short batch as much as a full one:
averaged over batches of 124 and 1, Bamboogle's 36 right answers of 125 come out as 64.1 % instead of 28.8 %.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
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


def summarise(records: Sequence[QuestionRecord]) -> dict[str, Any]:
    """Figures by benchmark, by hops, over all records, and the unweighted average of the benchmarks."""
    groups = by_benchmark(records)
    average = {name: macro(records, attrgetter(name)) for name in METRICS}
    return {
        "benchmarks": {name: describe(group) for name, group in groups.items()},
        "hops": {str(hops): describe(group) for hops, group in by_hops(records).items()},
        "all": describe(records),
        "average": {**average, "benchmarks": len(groups)},
    }
