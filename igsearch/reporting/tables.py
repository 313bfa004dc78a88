"""The tables: methods by benchmarks, by hops, diagnostics, and what others have published.

Every figure comes from question records, or, where a table says so, from the history of training. None holds a time, so
that tables are the same to the byte whenever the results are; seconds per phase and step are in MLflow.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from igsearch.evaluation.contract import Contract
from igsearch.evaluation.referee import MACRO, MICRO, MIN_SEEDS, averages, seed_deviation
from igsearch.evaluation.statistics import Interval, Spread, level_interval, spread
from igsearch.evaluation.store import Evaluation
from igsearch.evaluation.summary import METRICS, by_hops, mean_of
from igsearch.inference.turns import REASON_IN_WORDS, refusal
from igsearch.provenance import write_json
from igsearch.records import BENCHMARKS, EndReason, QuestionRecord
from igsearch.reporting import table as t
from igsearch.reporting.costs import budget_table, cost_table
from igsearch.reporting.differences import IN_WORDS, difference_tables
from igsearch.reporting.examined import Examined
from igsearch.reporting.gains import gains_table
from igsearch.reporting.published_tables import published_table
from igsearch.reporting.results import (
    METRIC_NAMES,
    Design,
    Figure,
    MethodResult,
    TrainingRun,
    by_method,
    display,
    group,
    macro_mean,
    mean_where,
    micro_mean,
    on,
    with_hops,
)
from igsearch.reporting.table import Table

_CSV = {MACRO: "macro", MICRO: "micro"}
_RAW = ("", "_seed_low", "_seed_high", "_95_low", "_95_high")
_EFFORT: dict[str, Figure] = {
    "searches": lambda records: mean_of(records, attrgetter("searches")),
    "tokens": lambda records: mean_of(records, attrgetter("sampled_tokens")),
}


def _title(text: str, results: Sequence[MethodResult]) -> str:
    """The title with what must not be overlooked: synthetic data, partial evaluations."""
    marks = ["synthetic data"] if results[0].evaluations[0].subject.synthetic else []
    marks += ["PARTIAL"] if any(result.partial for result in results) else []
    return f"{text} ({', '.join(marks)})" if marks else text


def _partial_notes(results: Sequence[MethodResult]) -> tuple[str, ...]:
    return tuple(f"PARTIAL, {display(r.method)}: {'; '.join(r.partial)}." for r in results if r.partial)


def _label(result: MethodResult) -> tuple[str, str]:
    return display(result.method), str(len(result.seeds)) if result.seeds else t.ABSENT


def _contract(results: Sequence[MethodResult]) -> Contract:
    return results[0].evaluations[0].contract


def _raw(name: str, value: Spread | None, limits: Interval | None) -> dict[str, Any]:
    """The columns of a figure: mean, range over seeds, 95 % interval; empty where it is unknown."""
    if value is None or limits is None:
        return dict.fromkeys([f"{name}{suffix}" for suffix in _RAW])
    figures = (value.mean, value.low, value.high, *limits)
    return {f"{name}{suffix}": figure for suffix, figure in zip(_RAW, figures, strict=True)}


def _head(result: MethodResult) -> dict[str, Any]:
    subject = result.evaluations[0].subject
    marks = {"synthetic": subject.synthetic, "partial": "; ".join(result.partial)}
    return {"method": result.method, "inference": result.inference, "seeds": len(result.seeds), **marks}


def _effort(result: MethodResult) -> tuple[str, ...]:
    """What a method's answers cost: without it no table would tell several attempts from one."""
    return tuple(t.spread_cell(result.over_seeds(figure), 1) for figure in _EFFORT.values())


def _metric_row(result: MethodResult, metric: str, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Cells and raw row of a method in the table of one metric."""
    figures = {**{name: mean_where(on(name), metric) for name in names}, MACRO: macro_mean(metric)}
    spreads = {name: result.over_seeds(figure) for name, figure in {**figures, MICRO: micro_mean(metric)}.items()}
    scores = result.scores(metric, {name: on(name) for name in names})
    whole = averages(scores) if len(scores) == len(names) else {name: {name: 1.0} for name in scores}
    limits = {name: level_interval(scores, weights, name) for name, weights in whole.items()}
    raw = {
        column: v
        for name, value in spreads.items()
        for column, v in _raw(_CSV.get(name, name), value, limits.get(name)).items()
    }
    deviation = seed_deviation(scores, whole[MACRO]) if MACRO in whole else None
    count = sum(of.shape[1] for of in scores.values())
    cells = (*(t.spread_cell(spreads[name]) for name in figures), t.interval_cell(limits.get(MACRO)))
    head = {**_head(result), "metric": metric, "questions": count}
    return (*_label(result), *cells, *_effort(result)), {**head, **raw, "macro_seed_sd": deviation}


def _seeds_note(results: Sequence[MethodResult]) -> str:
    ranged = any(len(result.seeds) > 1 for result in results)
    seeds = "Mean over training seeds, in brackets the lowest and the highest seed. " if ranged else ""
    return f"{seeds}Greedy, one answer a question. searches, tokens: executed searches and sampled tokens per question."


def _average_note(results: Sequence[MethodResult]) -> str:
    return (
        f"{MACRO}: unweighted mean of the {len(_contract(results).questions)} benchmarks; 95 %: its interval, over "
        f"seeds and questions with at least {MIN_SEEDS} seeds, else over questions. Whether two methods differ is told "
        "by the table of differences, not by whether these overlap."
    )


def _left_out(style: str) -> tuple[str, ...]:
    """The ways of answering that have no row because they would mean nothing there, with the reason."""
    reasons: dict[str, list[str]] = {}
    for name in REASON_IN_WORDS:
        if reason := refusal(name, style):
            reasons.setdefault(reason.removeprefix(f"{name} "), []).append(name)
    return tuple(f"Left out: {', '.join(names)}, because each {reason}." for reason, names in reasons.items())


def main_tables(results: Sequence[MethodResult], style: str = "") -> list[Table]:
    """EM, F1 and cover-EM: methods by benchmarks and their macro average; what the prompt style excludes is noted."""
    asked = {each.benchmark: each.count for each in _contract(results).questions}
    names = [name for name in BENCHMARKS if name in asked]
    counts = ("questions", "", *(str(asked[name]) for name in names), str(sum(asked.values())), "", "", "")
    tables = []
    for metric in METRICS:
        rows = [_metric_row(result, metric, names) for result in results]
        tables.append(
            Table(
                title=_title(f"{METRIC_NAMES[metric]} by benchmark", results),
                columns=("method", "seeds", *names, MACRO, "95 %", *_EFFORT),
                rows=(*(cells for cells, _ in rows), counts),
                notes=(f"{_seeds_note(results)} {_average_note(results)}", *_left_out(style), *_partial_notes(results)),
                data=tuple(raw for _, raw in rows),
            )
        )
    return tables


def hops_table(results: Sequence[MethodResult]) -> Table:
    """EM by the number of hops, over the questions of all benchmarks for which it is known."""
    first = by_hops(results[0].evaluations[0].records)
    rows, data = [], []
    for result in results:
        spreads = {hops: result.over_seeds(mean_where(with_hops(hops), "em")) for hops in first}
        rows.append((*_label(result), *map(t.spread_cell, spreads.values()), *_effort(result)))
        for hops, value in spreads.items():
            scores = result.scores("em", {"": with_hops(hops)})
            limits = level_interval(scores, {"": 1.0}, str(hops)) if scores else None
            data.append({**_head(result), "hops": hops, "questions": len(first[hops]), **_raw("em", value, limits)})
    unknown = () if first else ("The number of hops is not known for any of these questions.",)
    return Table(
        title=_title("EM by number of hops", results),
        columns=("method", "seeds", *(f"{hops} hop{'s' if hops > 1 else ''}" for hops in first), *_EFFORT),
        rows=(*rows, ("questions", "", *(str(len(members)) for members in first.values()), "", "")),
        notes=(*unknown, _seeds_note(results), *_partial_notes(results)),
        data=tuple(data),
    )


def _failed(record: QuestionRecord) -> bool:
    return record.end is EndReason.RETRIEVER_FAILED


_DIAGNOSTICS: dict[str, Figure] = {
    "first attempt": lambda records: mean_of(records, lambda record: record.em_by_attempt[0]),
    "last attempt": lambda records: mean_of(records, lambda record: record.em_by_attempt[-1]),
    "first query useful": lambda records: mean_of(records, attrgetter("first_query_useful")),
    "retrieval hit": lambda records: mean_of(records, attrgetter("retrieval_hit")),
    "searches": lambda records: mean_of(records, attrgetter("searches")),
    "without new passage": lambda records: mean_of(records, attrgetter("searches_without_new_passage")),
    "sampled tokens": lambda records: mean_of(records, attrgetter("sampled_tokens")),
    "answered": lambda records: mean_of(records, lambda record: record.end is EndReason.ANSWERED),
}


_HIT = "hit: share of the questions with a search that brought a passage with a gold answer"


_OF_TRAINING = {
    "uniform groups": "reward/uniform_groups",
    "step signal": "credit/step_share",
    "in uniform groups": "credit/step_share_uniform_groups",
}
"""Metrics of training by the column that holds their mean over steps; those that no run logged are left out."""


def _over_runs(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return spread(known) if known else None


def diagnostics_table(results: Sequence[MethodResult], training: Sequence[TrainingRun]) -> Table:
    """How methods search and how much signal their training had."""
    runs, rows, data = by_method(training), [], []
    logged = {column: name for column, name in _OF_TRAINING.items() if any(run.series(name) for run in training)}
    for result in results:
        mine = runs.get(result.method, ())
        signal = {column: _over_runs(run.mean(name) for run in mine) for column, name in logged.items()}
        found = {**signal, **{n: result.over_seeds(figure) for n, figure in _DIAGNOSTICS.items()}}
        rows.append((*_label(result), *(t.spread_cell(value, 2) for value in found.values())))
        data.append({**_head(result), **{n.replace(" ", "_"): value and value.mean for n, value in found.items()}})
    return Table(
        title=_title("How the methods search", results),
        columns=("method", "seeds", *logged, *_DIAGNOSTICS),
        rows=tuple(rows),
        notes=(
            "uniform groups: share of training groups whose rollouts all had the same reward, mean over steps. "
            "step signal: share of the mass of all token advantages that the step signal adds to what the same rule "
            "gives without it; in uniform groups: the part of the same mass that it adds in groups of equal rewards. "
            "first attempt, last attempt: EM over all questions of the answers of these attempts, the same where there "
            "was but one. "
            "first query useful: share of first queries that brought a passage with the first fact of the chain. "
            f"retrieval {_HIT}. searches, without new "
            "passage, sampled tokens: per question. answered: share of questions with a complete answer.",
            *_partial_notes(results),
        ),
        data=tuple(data),
    )


def evaluation_table(evaluation: Evaluation) -> Table:
    """One evaluation for the terminal: a row per benchmark, both averages below."""
    results = group([evaluation])
    rows = []
    for benchmark in (each.benchmark for each in evaluation.contract.questions):
        records = [record for record in evaluation.records if record.benchmark == benchmark]
        figures = [mean_of(records, attrgetter(name)) for name in (*METRICS, "retrieval_hit")]
        effort = [mean_of(records, attrgetter(name)) for name in ("searches", "sampled_tokens")]
        cells = (*map(t.number, figures), *(t.number(value, 1) for value in effort))
        rows.append((benchmark, str(len(records)), *cells, str(sum(map(_failed, records)))))
    rows.sort(key=lambda row: BENCHMARKS.index(row[0]))
    for name, figure in {MACRO: macro_mean, MICRO: micro_mean}.items():
        means = [figure(metric)(evaluation.records) for metric in METRICS]
        failed = str(sum(map(_failed, evaluation.records)))
        rows.append((name, str(len(evaluation.records)), *map(t.number, means), *[""] * 3, failed))
    return Table(
        title=_title(
            f"{evaluation.subject.label}, {evaluation.subject.inference}: {evaluation.subject.policy}", results
        ),
        columns=("benchmark", "n", *METRIC_NAMES.values(), "hit", "searches", "tokens", "failed"),
        rows=tuple(rows),
        notes=(f"{_HIT}. {IN_WORDS}", *_partial_notes(results)),
    )


def terminal(evaluations: Sequence[Evaluation]) -> list[Any]:
    """EM by benchmark and by hops for a Rich console, methods side by side so that 80 columns hold four of them."""
    results = group(evaluations)
    return [main_tables(results)[0].transposed().rich(), hops_table(results).transposed().rich()]


def metrics(results: Sequence[MethodResult]) -> Mapping[str, Any]:
    """EM by method, benchmark and macro average, mean over seeds: the metrics that DVC shows and compares."""
    names = [name for name in BENCHMARKS if name in {each.benchmark for each in _contract(results).questions}]
    figures = {**{name: mean_where(on(name), "em") for name in names}, _CSV[MACRO]: macro_mean("em")}
    found = {r.method: {name: r.over_seeds(figure) for name, figure in figures.items()} for r in results}
    return {m: {name: value and round(value.mean, 6) for name, value in row.items()} for m, row in found.items()}


def _budget_tables(results: Sequence[MethodResult], training: Sequence[TrainingRun], design: Design) -> list[Table]:
    runs, per_step = by_method(training), design.rollouts_per_step
    tables = [
        cost_table(results, runs, per_step, _title("What training and answering cost", results)),
        budget_table(results, runs, per_step, _title("At the same budget of sampled tokens", results)),
    ]
    return [each for each in tables if each]


def write(
    evaluations: Sequence[Evaluation],
    training: Sequence[TrainingRun],
    examined: Sequence[Examined],
    out: Path,
    design: Design,
) -> list[Path]:
    """Write all tables as Markdown and CSV, and metrics.json, below `out`. Returns the paths.

    UserError where the evaluations cannot stand in one table (see `results.group`).
    """
    results = group(evaluations)
    gains = gains_table(examined, _title("What information gain pays for", results))
    against = difference_tables(results, design.bases, _title("{}", results))
    written = [
        *t.write(out, "main", main_tables(results, design.style)),
        *t.write(out, "by_hops", [hops_table(results)]),
        *t.write(out, "diagnostics", [diagnostics_table(results, training)]),
        *t.write(out, "costs", _budget_tables(results, training, design)),
        *(t.write(out, "differences", against) if against else []),
        *(t.write(out, "gains", [gains]) if gains else []),
        *t.write(out, "published", [published_table()]),
    ]
    write_json(out / "metrics.json", metrics(results))
    return [*written, out / "metrics.json"]
