"""Methods against their base form, paired by training seed: the ablation table.

Runs of one seed share the order of questions and the keys of every draw, so their difference varies less than the runs
do. Two intervals stand beside it: over seeds (what other training runs could change) and over questions (what other
questions of the same kind could).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from igsearch.evaluation.paired import pairs
from igsearch.evaluation.statistics import macro_interval, student
from igsearch.evaluation.store import Evaluation
from igsearch.reporting import table as t
from igsearch.reporting.results import MethodResult, display, macro_mean
from igsearch.reporting.table import Table

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """Average EM of a method minus that of its base, for each seed that both have, with 95 % intervals of the mean over
    seeds (None with one seed) and over questions."""

    method: str
    base: str
    by_seed: tuple[float, ...]
    over_seeds: Interval | None
    over_questions: Interval

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(self.by_seed)


def base_of(method: str, bases: Sequence[str]) -> list[str]:
    """What a method is compared with: the longest base that its name extends (`ig_search_n1`: `ig_search`), or else the
    first; a base itself with each that stands before it."""
    if method in bases:
        return list(bases[: bases.index(method)])
    extended = [base for base in bases if method.startswith(f"{base}_")]
    return [max(extended, key=len)] if extended else list(bases[:1])


def _by_seed(result: MethodResult) -> dict[int, Evaluation]:
    return {each.subject.seed: each for each in result.evaluations if each.subject.seed is not None}


def _over_questions(method: Sequence[Evaluation], base: Sequence[Evaluation]) -> Interval:
    """Of each question's mean difference over the seeds, benchmarks weighted equally."""
    values: dict[str, dict[str, list[float]]] = {}
    for mine, theirs in zip(method, base, strict=True):
        for first, second in pairs(theirs.records, mine.records):
            values.setdefault(first.benchmark, {}).setdefault(first.uid, []).append(second.em - first.em)
    return macro_interval({name: [fmean(each) for each in of.values()] for name, of in values.items()})


def difference(method: MethodResult, base: MethodResult) -> Difference | None:
    """None where they have no seed in common or a mean is unknown."""
    mine, theirs, em = _by_seed(method), _by_seed(base), macro_mean("em")
    seeds = sorted(set(mine) & set(theirs))
    figures = [(em(mine[seed].records), em(theirs[seed].records)) for seed in seeds]
    values = tuple(a - b for a, b in figures if a is not None and b is not None)
    if not values or len(values) < len(seeds):
        return None
    over_questions = _over_questions([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    return Difference(method.method, base.method, values, student(values), over_questions)


def differences(results: Sequence[MethodResult], bases: Sequence[str]) -> list[Difference]:
    """All methods against what `base_of` says, in the order of `results`."""
    by_name = {result.method: result for result in results if result.seeds}
    wanted = [(name, base) for name in by_name for base in base_of(name, bases) if base in by_name and base != name]
    found = [difference(by_name[name], by_name[base]) for name, base in wanted]
    return [each for each in found if each]


def _span(limits: Interval | None) -> str:
    return t.ABSENT if limits is None else f"{limits[0]:+.3f} to {limits[1]:+.3f}"


def _raw(found: Difference) -> dict[str, Any]:
    low, high = found.over_seeds or (None, None)
    return {
        "method": found.method,
        "base": found.base,
        "seeds": len(found.by_seed),
        "difference": found.mean,
        "seeds_95_low": low,
        "seeds_95_high": high,
        "questions_95_low": found.over_questions[0],
        "questions_95_high": found.over_questions[1],
        "by_seed": " ".join(f"{value:+.6f}" for value in found.by_seed),
    }


def difference_table(results: Sequence[MethodResult], bases: Sequence[str], title: str) -> Table | None:
    """The table; None where there is nothing to compare."""
    found = differences(results, bases)
    if not found:
        return None
    rows, data = [], []
    for each in found:
        head = (display(each.method), display(each.base), str(len(each.by_seed)))
        rows.append((*head, f"{each.mean:+.3f}", _span(each.over_seeds), _span(each.over_questions)))
        limits = {"seeds": each.over_seeds or (None, None), "questions": each.over_questions}
        spans = {
            f"{of}_95_{side}": v for of, pair in limits.items() for side, v in zip(("low", "high"), pair, strict=True)
        }
        head_raw = {"method": each.method, "base": each.base, "seeds": len(each.by_seed), "difference": each.mean}
        data.append({**head_raw, **spans, "by_seed": " ".join(f"{value:+.6f}" for value in each.by_seed)})
    return Table(
        title=title,
        columns=("method", "minus", "seeds", "difference", "95 % over seeds", "95 % over questions"),
        rows=tuple(rows),
        notes=(
            "Average EM of the benchmarks, method minus base, paired by training seed. over seeds: Student's t "
            "interval of the seeds' differences. over questions: interval of the questions' mean differences, "
            "benchmarks weighted equally. Not corrected for the number of comparisons: of twenty differences that are "
            "nothing, one is expected to leave its interval.",
        ),
        data=tuple(data),
        left=2,
    )
