"""Costs and the comparison at one budget, from made runs whose sums are known."""

import pytest
from made_results import evaluation

from igsearch.reporting.costs import at_budget, budget_table, cost_table, smallest_total, spent
from igsearch.reporting.results import TrainingRun, group

PER_STEP = 10


def run(method: str, tokens: float, steps: int = 4, seed: int = 0) -> TrainingRun:
    """Validated at step 0 and after every other step; EM is a hundredth of the step."""
    rows: list[tuple[int, dict[str, float]]] = [(0, {"validation/em": 0.0})]
    for step in range(1, steps + 1):
        metrics = {"length/sampled": tokens, "search/per_episode": 2.0}
        rows.append((step, metrics | ({"validation/em": step / 100} if step % 2 == 0 else {})))
    return TrainingRun(method, seed, tuple(rows))


def test_a_steps_means_count_once_for_each_rollout() -> None:
    before, *_, after = spent(run("grpo", tokens=30.0), PER_STEP)
    assert (before.step, before.rollouts, before.sampled_tokens, before.searches) == (0, 0, 0, 0)
    assert (after.step, after.rollouts, after.sampled_tokens, after.searches) == (4, 40, 1200, 80)


def test_totals_that_a_run_logs_count_as_they_are() -> None:
    budget = {"budget/rollouts": 24.0, "budget/sampled_tokens": 700.0, "budget/searches": 30.0}
    made = TrainingRun("rejection_sampling", 0, ((0, budget), (3, budget)))
    assert [(each.step, each.sampled_tokens) for each in spent(made, PER_STEP)] == [(0, 700.0), (3, 700.0)]


def test_at_the_budget_of_the_cheapest_a_dearer_method_is_read_earlier() -> None:
    cheap, dear = run("grpo", 30.0), run("mr_search", 60.0)
    limit = smallest_total([cheap, dear], PER_STEP)
    assert limit == 1200
    mine, theirs = at_budget(cheap, PER_STEP, limit), at_budget(dear, PER_STEP, limit)
    assert mine
    assert theirs
    assert (mine.step, mine.em, theirs.step, theirs.em) == (4, 0.04, 2, 0.02)


def test_what_samples_nothing_sets_no_budget() -> None:
    nothing = TrainingRun("sft", 0, ((0, {"validation/em": 0.5}),))
    assert smallest_total([nothing, run("grpo", 30.0)], PER_STEP) == 1200
    assert smallest_total([nothing], PER_STEP) is None


def test_the_tables_hold_training_answering_and_the_first_attempt() -> None:
    trained = [evaluation("grpo", 0, 0.8), evaluation("mr_search", 0, 0.8, em_by_attempt=(0.0, 1.0))]
    results = group([*trained, evaluation("warm_start", None, 0.3)])
    training = {"grpo": [run("grpo", 30.0)], "mr_search": [run("mr_search", 60.0)]}
    cost = {row["method"]: row for row in cost_table(results, training, PER_STEP, "cost").data}
    assert cost["grpo"]["training_sampled_tokens"] == 1200
    assert cost["mr_search"]["training_searches"] == 80
    assert cost["warm_start"]["training_rollouts"] is None
    assert cost["grpo"]["sampled_tokens_per_question"] == pytest.approx(10 * cost["grpo"]["searches_per_question"])
    table = budget_table(results, training, PER_STEP, "budget")
    assert table
    budget = {row["method"]: row for row in table.data}
    assert set(budget) == {"grpo", "mr_search"}
    assert (budget["grpo"]["first_attempt"], budget["mr_search"]["first_attempt"]) == (None, 0.0)
    assert budget["mr_search"]["validation_EM"] == 0.02
