"""The published table under its own errors: how far other questions would move each figure, and which claims stand.

A share p of n right answers has the sampling variance p(1-p)/n, were the questions drawn independently; the macro
average of B benchmarks sum(p(1-p)/n)/B². Two methods answered the same questions, but nobody printed how their outcomes
correlate: the variance of a difference is a + b - 2 rho sqrt(ab), shown for a grid of rho. No seed enters: what one run
of each says. A score that was not printed enters with p = 1/2, the largest variance there is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from igsearch.evaluation.power import RHOS, TEST_SIZES
from igsearch.evaluation.referee import LEVEL, MACRO, holm
from igsearch.evaluation.statistics import Z95, Interval, wilson
from igsearch.reporting.published import PublishedRow, published

OURS = "IG-Search"
MODELS = ("Qwen2.5-3B", "Qwen2.5-7B")
RIVALS = {
    "MR-Search": "MR-Search",
    "GiGPO": "GiGPO",
    "AutoRefine": "AutoRefine",
    "IGRPO": "IGRPO",
    "IGPO (IGRPO paper)": "IGPO by IGRPO",
    "Tree-GRPO (IGRPO paper)": "Tree-GRPO by IGRPO",
    "Role-Agent": "Role-Agent",
    "Skill0": "Skill0",
    "SkillRL": "SkillRL",
    "EvolveR": "EvolveR",
    "OPDSearch+": "OPDSearch+",
    "DART": "DART",
    "StepResearch/StepSearch (MR-Search reproduction)": "StepSearch by MR-Search",
    "VSPO+PRS": "VSPO+PRS",
    "PPRM": "PPRM",
    "ReSearch": "ReSearch",
    "Search-R1 (GRPO; MR-Search reproduction)": "Search-R1 by MR-Search",
    "Search-R1 (GRPO)": "Search-R1 GRPO",
    "Search-R1 (PPO)": "Search-R1 PPO",
}
"""The trained search agents whose exact match on the whole test sets is set beside IG-Search, with short names; no
ablations. `by`: run or quoted by the paper of that method."""
_STATED = "IG-Search (per-set values inferred = MR-Search + stated deltas)"


@dataclass(frozen=True)
class Entry:
    """A method of the published table. scores: None where not printed. corrected: its Bamboogle is over questions."""

    row: PublishedRow
    scores: Mapping[str, float | None]
    average: float
    corrected: bool = False

    @property
    def label(self) -> str:
        """`AutoRefine, base`."""
        return f"{RIVALS.get(self.row.method, self.row.method)}, {self.row.variant}"

    def variance(self, benchmark: str) -> float:
        """Sampling variance of its share on a benchmark."""
        score = self.scores[benchmark]
        share = 0.5 if score is None else score
        return share * (1 - share) / TEST_SIZES[benchmark]

    def figure(self, name: str) -> float | None:
        """Its score on a benchmark, or its macro average as printed (corrected: computed)."""
        return self.average if name == MACRO else self.scores[name]

    def interval(self, name: str) -> Interval | None:
        """95 %: Wilson's on a benchmark, normal for the macro average."""
        if name == MACRO:
            half = Z95 * self.standard_error(MACRO)
            return self.average - half, self.average + half
        score, count = self.scores[name], TEST_SIZES[name]
        return None if score is None else wilson(score * count, count)

    def standard_error(self, name: str) -> float:
        """Of a figure, over questions."""
        return sqrt(sum(self.variance(each) for each in _parts(name))) / len(_parts(name))

    @property
    def bamboogles_part(self) -> float:
        """The share of the macro average's variance that comes from Bamboogle."""
        return self.variance("bamboogle") / sum(map(self.variance, TEST_SIZES))

    @property
    def averages_differ(self) -> bool:
        """Whether the printed average is not the mean of the printed row."""
        return any("mean of the row" in remark for remark in self.row.remarks)


@dataclass(frozen=True)
class Comparison:
    """IG-Search minus another method in one figure, for each rho of RHOS: standard errors and Holm's p values."""

    other: Entry
    figure: str
    difference: float
    errors: Mapping[float, float]
    adjusted: Mapping[float, float]

    def interval(self, rho: float) -> Interval:
        """95 %, normal."""
        return self.difference - Z95 * self.errors[rho], self.difference + Z95 * self.errors[rho]

    def z(self, rho: float) -> float:
        """The difference in standard errors."""
        return self.difference / self.errors[rho]

    @property
    def stands_from(self) -> float | None:
        """The smallest rho of the grid from which on it is supported after Holm's correction; None where for none."""
        return next((rho for rho in RHOS if self.adjusted[rho] < LEVEL), None)


def _parts(figure: str) -> tuple[str, ...]:
    return tuple(TEST_SIZES) if figure == MACRO else (figure,)


def _entry(row: PublishedRow, corrected: bool = False) -> Entry:
    average = row.average_over_questions if corrected else row.average
    if average is None:
        raise ValueError(f"{row.method} has no such average")
    scores = {**row.scores, "bamboogle": row.bamboogle_over_questions} if corrected else row.scores
    return Entry(row, scores, average, corrected)


def ours(model: str) -> Entry:
    """IG-Search; of the 3B model with the three scores that follow from margins stated over MR-Search (`stated`)."""
    rows = {row.method: row for row in published() if row.model == model}
    stated = rows[_STATED].scores if _STATED in rows else {}
    entry = _entry(rows[OURS])
    return Entry(entry.row, {name: stated.get(name, score) for name, score in entry.scores.items()}, entry.average)


def rivals(model: str, corrected: bool = False) -> list[Entry]:
    """The methods beside IG-Search with an average, in the order of RIVALS; corrected: Bamboogle over questions where
    the printed figure fits a mean of batch means."""
    rows = [row for row in published() if row.model == model and row.method in RIVALS]
    rows = [row for row in rows if row.comparable and row.average is not None]
    rows.sort(key=lambda row: list(RIVALS).index(row.method))
    return [_entry(row, corrected and row.bamboogle_over_questions is not None) for row in rows]


def standard_error(one: Entry, other: Entry, figure: str, rho: float) -> float:
    """Of the difference of two methods' figures, over questions."""
    pairs = [(one.variance(name), other.variance(name)) for name in _parts(figure)]
    return sqrt(sum(a + b - 2 * rho * sqrt(a * b) for a, b in pairs)) / len(pairs)


def compare(one: Entry, others: Iterable[Entry], figure: str = MACRO) -> list[Comparison]:
    """`one` minus each of the others that printed the figure; Holm's correction is over all of them."""
    return _judged([(one, other, figure) for other in others])


def stated_margins(model: str = MODELS[0]) -> list[Comparison]:
    """What IG-Search's paper claims over MR-Search, figure by figure; Holm's correction is over these."""
    one, other = ours(model), next(each for each in rivals(model) if each.row.method == "MR-Search")
    return _judged([(one, other, figure) for figure in (*TEST_SIZES, MACRO)])


def _judged(pairs: Sequence[tuple[Entry, Entry, str]]) -> list[Comparison]:
    from scipy.stats import norm

    known = []
    for one, other, figure in pairs:
        mine, theirs = one.figure(figure), other.figure(figure)
        if mine is not None and theirs is not None:
            errors = {rho: standard_error(one, other, figure, rho) for rho in RHOS}
            known.append((other, figure, mine - theirs, errors))
    adjusted = {
        rho: holm([2 * float(norm.sf(abs(difference) / errors[rho])) for *_, difference, errors in known])
        for rho in RHOS
    }
    return [
        Comparison(*each, {rho: adjusted[rho][place] for rho in RHOS})  # of one place in every column
        for place, each in enumerate(known)
    ]


def batch_mean_error(share: float, questions: int = 125) -> float:
    """Standard error of a mean over batches of n-1 and 1: half of it is one question."""
    return sqrt(share * (1 - share) * (1 / (questions - 1) + 1)) / 2


def rows() -> list[dict[str, Any]]:
    """All of it as rows of a CSV file: every figure with its interval, then every difference."""
    found: list[dict[str, Any]] = []
    for model in MODELS:
        plain, corrected = rivals(model), rivals(model, corrected=True)
        entries = [ours(model), *plain, *(each for each in corrected if each.corrected)]
        found += [_figure_row(each, figure) for each in entries for figure in (*TEST_SIZES, MACRO)]
        for others in (plain, corrected):
            table = "as printed" if others is plain else "bamboogle corrected"
            for figure in (MACRO, "bamboogle"):
                found += [
                    _difference_row(each, table, rho) for each in compare(ours(model), others, figure) for rho in RHOS
                ]
    found += [_difference_row(each, "stated over MR-Search", rho) for each in stated_margins() for rho in RHOS]
    return found


def _head(entry: Entry, figure: str) -> dict[str, Any]:
    row = entry.row
    head = {"model": row.model, "method": row.method, "variant": row.variant, "corrected": entry.corrected}
    return {**head, "figure": figure, "source": row.source}


def _figure_row(entry: Entry, figure: str) -> dict[str, Any]:
    value, limits = entry.figure(figure), entry.interval(figure)
    questions = sum(TEST_SIZES[name] for name in _parts(figure))
    known = value is not None and limits is not None
    return {
        "kind": "figure",
        **_head(entry, figure),
        "questions": questions,
        "em": value,
        "standard_error": entry.standard_error(figure) if known else None,
        "low_95": limits[0] if limits else None,
        "high_95": limits[1] if limits else None,
    }


def _difference_row(found: Comparison, table: str, rho: float) -> dict[str, Any]:
    low, high = found.interval(rho)
    return {
        "kind": "IG-Search minus it",
        **_head(found.other, found.figure),
        "table": table,
        "rho": rho,
        "difference": found.difference,
        "standard_error": found.errors[rho],
        "low_95": low,
        "high_95": high,
        "z": found.z(rho),
        "p_holm": found.adjusted[rho],
        "supported": found.adjusted[rho] < LEVEL,
    }
