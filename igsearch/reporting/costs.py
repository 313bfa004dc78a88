"""What training and answering cost, and the methods compared at the same budget of sampled tokens.

Rollouts hide what a method spends: one with several attempts samples a multiple of the tokens in as many rollouts. So
tokens and searches stand beside them. None of it is time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from igsearch.evaluation.statistics import Spread, spread
from igsearch.evaluation.summary import macro, mean_of
from igsearch.records import QuestionRecord
from igsearch.reporting import table as t
from igsearch.reporting.results import MethodResult, TrainingRun, display, macro_mean
from igsearch.reporting.table import Table

BUDGET = ("rollouts", "sampled_tokens", "searches")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent on its rollouts up to a step, validation not counted."""

    step: int
    rollouts: float = 0.0
    sampled_tokens: float = 0.0
    searches: float = 0.0


def spent(run: TrainingRun, rollouts_per_step: int) -> list[Spent]:
    """The budget after each step. Totals that a run logs (`budget/…`) count as they are; else each step that logged the
    means of its rollouts adds `rollouts_per_step` times these."""
    so_far, after = Spent(0), []
    for step, metrics in run.steps:
        if "budget/rollouts" in metrics:
            so_far = Spent(step, *(metrics[f"budget/{name}"] for name in BUDGET))
        elif "length/sampled" in metrics:
            so_far = Spent(
                step,
                so_far.rollouts + rollouts_per_step,
                so_far.sampled_tokens + rollouts_per_step * metrics["length/sampled"],
                so_far.searches + rollouts_per_step * metrics["search/per_episode"],
            )
        after.append(Spent(step, so_far.rollouts, so_far.sampled_tokens, so_far.searches))
    return after


def _over(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return spread(known) if known and len(known) == len(values) else None


def _thousands(value: Spread | None) -> str:
    return t.ABSENT if value is None else f"{value.mean / 1000:,.1f}"


def _cost(
    result: MethodResult, runs: Sequence[TrainingRun], rollouts_per_step: int
) -> tuple[tuple[str, ...], dict[str, Any]]:
    ends = [spent(run, rollouts_per_step)[-1] for run in runs if run.steps]
    training = {name: _over([getattr(end, name) for end in ends]) for name in BUDGET}
    asked = {
        name: result.over_seeds(lambda records, name=name: mean_of(records, attrgetter(name)))  # type: ignore[misc]
        for name in ("searches", "sampled_tokens")
    }
    cells = (*map(_thousands, training.values()), *(t.spread_cell(value, 2) for value in asked.values()))
    raw = {
        **{f"training_{name}": value and value.mean for name, value in training.items()},
        **{f"{name}_per_question": value and value.mean for name, value in asked.items()},
    }
    return cells, raw


def cost_table(
    results: Sequence[MethodResult], training: Mapping[str, Sequence[TrainingRun]], rollouts_per_step: int, title: str
) -> Table:
    """Training: rollouts, sampled tokens and searches in thousands, mean over seeds. Answering: per test question."""
    rows, data = [], []
    for result in results:
        cells, raw = _cost(result, training.get(result.method, ()), rollouts_per_step)
        seeds = str(len(result.seeds)) if result.seeds else t.ABSENT
        rows.append((display(result.method), seeds, *cells))
        data.append({"table": "cost", "method": result.method, "seeds": len(result.seeds), **raw})
    return Table(
        title=title,
        columns=("method", "seeds", "rollouts, k", "tokens, k", "searches, k", "searches/question", "tokens/question"),
        rows=tuple(rows),
        notes=(
            "Training: thousands of rollouts, of tokens sampled in them and of searches, mean over seeds, without the "
            "warm start and without validation. Answering: greedy, per test question. tokens: written by the policy.",
        ),
        data=tuple(data),
    )


@dataclass(frozen=True, slots=True)
class AtBudget:
    """A run at its last validation within the budget."""

    step: int
    sampled_tokens: float
    em: float


def at_budget(run: TrainingRun, rollouts_per_step: int, tokens: float) -> AtBudget | None:
    """The last validation up to which a run had sampled at most `tokens`; None where it was never validated by then."""
    em, found = dict(run.series("validation/em")), None
    for after in spent(run, rollouts_per_step):
        if after.step in em and after.sampled_tokens <= tokens:
            found = AtBudget(after.step, after.sampled_tokens, em[after.step])
    return found


def smallest_total(training: Sequence[TrainingRun], rollouts_per_step: int) -> float | None:
    """The fewest tokens that a run sampled in all, of those that sampled any; None where none did."""
    totals = [spent(run, rollouts_per_step)[-1].sampled_tokens for run in training if run.steps]
    return min((total for total in totals if total), default=None)


def _first_attempt(records: Sequence[QuestionRecord]) -> float | None:
    return macro(records, lambda record: record.em_by_attempt[0])


def _has_attempts(result: MethodResult) -> bool:
    return any(len(record.em_by_attempt) > 1 for each in result.evaluations for record in each.records)


def _spreads(result: MethodResult, found: Sequence[AtBudget | None]) -> Iterator[Spread | None]:
    """Step, tokens and validation EM at the budget; test EM, and that of the first of several attempts."""
    fields: tuple[Callable[[AtBudget], float], ...] = (
        lambda each: each.step,
        lambda each: each.sampled_tokens / 1000,
        lambda each: each.em,
    )
    for field in fields:
        yield _over([field(each) if each else None for each in found])
    yield result.over_seeds(macro_mean("em"))
    yield result.over_seeds(_first_attempt) if _has_attempts(result) else None


_AT_BUDGET = ("step", "tokens, k", "validation EM", "test EM at the end", "first attempt")


def budget_table(
    results: Sequence[MethodResult], training: Mapping[str, Sequence[TrainingRun]], rollouts_per_step: int, title: str
) -> Table | None:
    """Every trained method at its last validation within the budget of the cheapest run; None where none was logged."""
    limit = smallest_total([run for runs in training.values() for run in runs], rollouts_per_step)
    if limit is None:
        return None
    rows, data = [], []
    for result in (each for each in results if training.get(each.method)):
        found = [at_budget(run, rollouts_per_step, limit) for run in training[result.method]]
        values = dict(zip(_AT_BUDGET, _spreads(result, found), strict=True))
        digits = (0, 1, 3, 3, 3)
        cells = (t.spread_cell(value, places) for value, places in zip(values.values(), digits, strict=True))
        rows.append((display(result.method), str(len(result.seeds)), *cells))
        means = {name.replace(", k", "_k").replace(" ", "_"): value and value.mean for name, value in values.items()}
        data.append({"table": "budget", "method": result.method, "seeds": len(result.seeds), **means})
    return Table(
        title=title,
        columns=("method", "seeds", *_AT_BUDGET),
        rows=tuple(rows),
        notes=(
            f"step, tokens, validation EM: at the last validation of each run before it had sampled more than "
            f"{limit / 1000:,.1f} thousand tokens in training, which is what the cheapest run sampled in all. test EM: "
            "average of the benchmarks after the whole training, and of the first attempt where a method has several.",
        ),
        data=tuple(data),
    )
