"""`igsearch referee published` for a terminal: figures with errors, differences with p values, a correction."""

from collections.abc import Sequence
from textwrap import fill

from igsearch.evaluation.power import RHOS, TEST_SIZES
from igsearch.evaluation.referee import MACRO
from igsearch.evaluation.statistics import Interval
from igsearch.reporting import table as t
from igsearch.reporting.differences import p_cell, signed
from igsearch.reporting.published_referee import (
    MODELS,
    Comparison,
    Entry,
    batch_mean_error,
    compare,
    ours,
    rivals,
    stated_margins,
)
from igsearch.reporting.table import Table

_NAME = 20  # columns of a terminal
_COLUMNS = ("points", "95 %, rho 0", *(f"rho {f'{rho:g}'.replace('0.', '.')}" for rho in RHOS), "stands")
_MARK = " †"


def _name(entry: Entry) -> str:
    return fill(entry.label + (_MARK if entry.averages_differ else ""), _NAME)


def _limits(of: Interval | None, digits: int = 1) -> str:
    return t.ABSENT if of is None else f"{100 * of[0]:.{digits}f}–{100 * of[1]:.{digits}f}"


def _points(value: float | None, digits: int = 1) -> str:
    return t.ABSENT if value is None else f"{100 * value:.{digits}f}"


def _stands(found: Comparison) -> str:
    start = found.stands_from
    if start is None:
        return "no"
    since = "" if start == 0 else f" {start:g}+".replace("0.", ".")
    return ("yes" if found.difference > 0 else "other") + since


def noise_table(model: str) -> Table:
    """Of MR-Search, the best complete row with a paper's own figures: what each test set adds to the error."""
    entry = next(each for each in rivals(model) if each.row.method == "MR-Search")
    whole = sum(map(entry.variance, TEST_SIZES))
    rows = [
        (
            name,
            f"{count:,}",
            _points(entry.scores[name]),
            _points(entry.standard_error(name), 2),
            _limits(entry.interval(name)),
            f"{entry.variance(name) / whole:.1%}",
        )
        for name, count in TEST_SIZES.items()
    ]
    error, limits = entry.standard_error(MACRO), entry.interval(MACRO)
    rows.append(
        (MACRO, f"{sum(TEST_SIZES.values()):,}", _points(entry.average), _points(error, 2), _limits(limits), "")
    )
    return Table(
        title=f"What other questions would do: {entry.label}, {model}",
        columns=("benchmark", "n", "EM", "SE", "95 %", "of the average's variance"),
        rows=tuple(rows),
    )


def average_table(model: str) -> Table:
    """Averages and Bamboogle of all methods, with intervals."""
    rows = [
        (
            _name(each),
            _points(each.average),
            _points(each.standard_error(MACRO), 2),
            _limits(each.interval(MACRO)),
            f"{each.bamboogles_part:.0%}",
            _points(each.scores["bamboogle"]),
            _limits(each.interval("bamboogle")),
        )
        for each in (ours(model), *rivals(model))
    ]
    columns = ("method", "average", "SE", "95 %", "of it\nBamb.", "Bamboogle", "95 %")
    return Table(title=f"{model}, as printed", columns=columns, rows=tuple(rows))


def _difference_rows(found: Sequence[Comparison], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            name,
            signed(100 * each.difference),
            " to ".join(signed(100 * limit) for limit in each.interval(0.0)),
            *(p_cell(each.adjusted[rho]) for rho in RHOS),
            _stands(each),
        )
        for name, each in zip(names, found, strict=True)
    )


def difference_table(model: str) -> Table:
    """IG-Search minus each of the others, macro averages."""
    found = compare(ours(model), rivals(model))
    rows = _difference_rows(found, [_name(each.other) for each in found])
    title = f"{model}, {MACRO}: IG-Search minus …, Holm p over these {len(rows)}"
    return Table(title=title, columns=("method", *_COLUMNS), rows=rows)


def stated_table() -> Table:
    """IG-Search over MR-Search, benchmark by benchmark."""
    found = stated_margins()
    rows = _difference_rows(found, [each.figure for each in found])
    title = f"{MODELS[0]}: IG-Search minus MR-Search as its paper states it, Holm p over these {len(rows)}"
    return Table(title=title, columns=("figure", *_COLUMNS), rows=rows)


def correction_table(model: str) -> Table:
    """What Bamboogle over questions changes, for the rows whose printed figure fits a mean of batch means."""
    printed, corrected = (compare(ours(model), rivals(model, each)) for each in (False, True))
    rows = []
    for before, after in zip(printed, corrected, strict=True):
        if not after.other.corrected:
            continue
        score = after.other.scores["bamboogle"] or 0.0
        rows.append(
            (
                _name(before.other),
                f"{_points(before.other.scores['bamboogle'])} → {_points(score)}",
                _points(batch_mean_error(score)),
                f"{_points(before.other.average)} → {_points(after.other.average)}",
                f"{signed(100 * before.difference)} → {signed(100 * after.difference)}",
                p_cell(after.adjusted[0.0]),
                _stands(after),
            )
        )
    columns = ("method", "Bamboogle", "SE", "average", "IG-Search minus", "Holm p", "stands")
    return Table(title=f"{model}, Bamboogle over questions", columns=columns, rows=tuple(rows))


def tables() -> list[Table]:
    """All of them in reading order."""
    found = [noise_table(MODELS[0]), stated_table()]
    for model in MODELS:
        found += [average_table(model), difference_table(model), correction_table(model)]
    return found


EXPLANATION = (
    "Points of 100. Assumed: questions drawn independently, binomial sampling at the sizes of the test sets (51,713 "
    "questions), one run of each method, no variance over seeds, printed figures exact. Not known: how two methods' "
    "outcomes on one question correlate; rho stands for it, and the larger it is, the surer a difference. Columns rho: "
    "p after Holm's correction over the table. stands: that p is below .05; yes: at every rho; yes .5+: only if "
    "outcomes correlate so much; no: these figures do not show a difference, which is not to say that there is none; "
    "other: the other method is ahead. by: run or quoted by the paper of that method. Scores of IG-Search that nobody "
    "printed enter errors with p = .5, the largest there are; hotpotqa, 2wikimultihopqa and musique of the 3B model "
    "follow from its stated margins over MR-Search. Base and instruct models, retrievers and training data differ "
    "between rows: what stands is a difference of the printed runs, not yet of the methods. †: the printed average is "
    "not the mean of the printed row; differences use what is printed. Bamboogle over questions: the printed figure "
    "fits a mean over batches of 124 and 1 questions whose last answer was right, ((2x - 1) 124 + 1)/125 over "
    "questions; our arithmetic after verl-agent's issues 267 and 210, not confirmed by the authors. SE there: of the "
    "printed mean of batch means, half of which is one question; a corrected average is the mean of its row."
)
"""Stands below the tables."""
