"""The published rows as tables: one for the files, and one for each model and kind of metric for a terminal."""

from collections.abc import Iterable, Sequence
from textwrap import fill

from igsearch.records import BENCHMARKS
from igsearch.reporting import table as t
from igsearch.reporting.published import PublishedRow, published
from igsearch.reporting.table import Table

_NAME, _VARIANT = 18, 4  # columns of a terminal
KINDS = ("EM", "F1", "LLM judge")
_SHORT = ("nq", "tqa", "pop", "hot", "2wi", "mus", "bam")
_NOTE = (
    "As printed by the sources. Even comparable rows differ in training data, retriever and corpus. NOT comparable: "
    "another metric than EM, a subset of the questions, or a figure nobody printed."
)
_BATCHES = (
    "Bamboogle over questions: where the printed figure fits a mean over batches of 124 and 1 questions, what it would "
    "be as a mean over the 125 questions (our arithmetic, not confirmed by the authors; docs/footguns.md)."
)


def _size(model: str) -> tuple[str, float]:
    family, _, size = model.rpartition("-")
    return family, float(size.removesuffix("B")) if size.removesuffix("B").replace(".", "").isdecimal() else 0.0


def ordered(rows: Iterable[PublishedRow]) -> list[PublishedRow]:
    """By model, then by kind of metric, else as in the file."""
    return sorted(rows, key=lambda row: (*_size(row.model), KINDS.index(row.metric)))


def _told(row: PublishedRow) -> str:
    return "; ".join((*row.obstacles, *row.remarks))


def published_table() -> Table:
    """What others have published, as printed, with the source of every row."""
    rows, data = [], []
    for row in ordered(published()):
        verdict, corrected = "yes" if row.comparable else "NOT comparable", row.bamboogle_over_questions
        head, scores = (row.method, row.model, row.variant), [*row.scores.values(), row.average]
        rows.append((*head, *map(t.number, scores), t.number(corrected), row.metric, verdict, _told(row), row.source))
        cells = {"method": row.method, "model": row.model, "variant": row.variant, **row.scores, "average": row.average}
        corrections = {"bamboogle_over_questions": corrected, "average_over_questions": row.average_over_questions}
        verdicts = {"metric": row.metric, "comparable": row.comparable, "remarks": _told(row), "source": row.source}
        data.append({**cells, **corrections, **verdicts})
    names = (*BENCHMARKS, "average", "Bamboogle over questions")
    return Table(
        title="Published results of others (none measured here, none synthetic)",
        columns=("method", "model", "variant", *names, "metric", "comparable", "remarks", "source"),
        rows=tuple(rows),
        notes=(f"{_NOTE} {_BATCHES}",),
        data=tuple(data),
        left=3,
    )


def _short(value: float | None) -> str:
    return t.ABSENT if value is None else f"{value:.3f}".removeprefix("0")


def _corrected(printed: float | None, corrected: float | None) -> str:
    """`.641!` with `.288` below it."""
    return _short(printed) if corrected is None else f"{_short(printed)}!\n{_short(corrected)}"


def _section(model: str, kind: str, rows: Sequence[PublishedRow]) -> Table:
    sources = list(dict.fromkeys(row.source for row in rows))
    cells = []
    for row in rows:
        *others, bamboogle = row.scores.values()
        corrected = _corrected(bamboogle, row.bamboogle_over_questions)
        average = _corrected(row.average, row.average_over_questions)
        mark = "" if row.comparable else " *"
        source = f"[{sources.index(row.source) + 1}]"
        name = fill(f"{row.method}{mark}", _NAME)
        cells.append((name, row.variant[:_VARIANT], *map(_short, others), corrected, average, source))
    reasons = dict.fromkeys(reason for row in rows for reason in row.obstacles)
    verdict = "" if kind == "EM" else ": NOT comparable with EM"
    return Table(
        title=f"{model}, {kind}{verdict}",
        columns=("method", "", *_SHORT, "avg", "src"),
        rows=tuple(cells),
        notes=(
            *((f"* NOT comparable: {'; '.join(reasons)}.",) if reasons else ()),
            *(f"[{number}] {source}" for number, source in enumerate(sources, 1)),
        ),
        left=2,
    )


def sections(model: str = "", kind: str | None = None) -> list[Table]:
    """A table for each model whose name holds `model` and each kind of metric (or only `kind`), with all sources."""
    groups: dict[tuple[str, str], list[PublishedRow]] = {}
    for row in ordered(published()):
        if model.casefold() in row.model.casefold() and kind in (None, row.metric):
            groups.setdefault((row.model, row.metric), []).append(row)
    return [_section(*key, rows) for key, rows in groups.items()]


CAPTION = f"{_NOTE} !: below the printed figure the corrected one. {_BATCHES}"
"""Stands below the sections."""
