"""The random control: the same step rewards, at other places, the same for every cutting of the batch."""

from dataclasses import replace

import pytest
import torch

from igsearch.credit import ig_search
from igsearch.credit.batch import CreditBatch, Unit
from igsearch.credit.control import controlled, exchanged
from igsearch.methods import METHODS, CreditConfig

PLACES = [(row, step) for row in range(6) for step in range(3)]
UNSCORED = {(0, 1), (4, 2)}
PLAIN, SHARED = METHODS["ig_search"], METHODS["ig_search_shared"]


def batch() -> CreditBatch:
    """Six rollouts of two questions with three searches each, two of them not scored."""
    units = [
        tuple(
            Unit(
                step,
                (10 * step, 10 * step + 1),
                None if (row, step) in UNSCORED else 3.0 * row + step,
                (row + step) % 2,
            )
            for step in range(3)
        )
        for row in range(6)
    ]
    return CreditBatch(tuple("bababa"), torch.zeros(6), torch.ones(6, 30).bool(), tuple(units))


def given(of: CreditBatch, name: str = "ig_search") -> list[float]:
    """What each scored step is credited with."""
    return list(ig_search.credited(of, METHODS[name]).values())


@pytest.mark.parametrize("name", ["ig_search", "ig_search_shared"])
def test_the_bonuses_of_the_control_are_the_real_ones_on_other_queries(name: str) -> None:
    """Also where they are centred: exchanging the raw gains would make them larger."""
    real, random = given(batch(), name), given(exchanged(batch(), METHODS[name], (0, 1)), name)
    assert sorted(real) == sorted(random)
    assert real != random
    assert len(real) == len(PLACES) - len(UNSCORED)


def test_centred_bonuses_change_places_within_question_and_search_index() -> None:
    """Else a question that had nothing to tell its rollouts apart by would be given the differences of another one."""
    of = batch()
    for draw in range(8):
        control = exchanged(of, SHARED, (0, draw))
        real, random = ig_search.credited(of, SHARED), ig_search.credited(control, SHARED)
        for uid, index in {(of.uids[row], step) for row, step in real}:
            there = [place for place in real if (of.uids[place[0]], place[1]) == (uid, index)]
            assert sum(random[place] for place in there) == pytest.approx(0, abs=1e-6)
            assert sorted(random[place] for place in there) == sorted(real[place] for place in there)
    assert any(of.uids[to[0]] != of.uids[row] for (row, _), to in exchanged(of, PLAIN, (0, 1)).exchange.items())


def test_only_scored_steps_take_part() -> None:
    exchange = exchanged(batch(), PLAIN, (0, 1)).exchange
    assert set(exchange) == set(exchange.values()) == set(PLACES) - UNSCORED


def test_the_draw_is_keyed_by_run_and_step() -> None:
    draws = {tuple(given(exchanged(batch(), PLAIN, (seed, step)))) for seed in range(3) for step in range(3)}
    assert len(draws) == 9
    assert given(exchanged(batch(), PLAIN, (2, 2))) == given(exchanged(batch(), PLAIN, (2, 2)))


@pytest.mark.parametrize("method", [PLAIN, SHARED])
def test_the_order_of_the_groups_changes_nothing(method: CreditConfig) -> None:
    order = [1, 3, 5, 0, 2, 4]
    whole = batch()
    moved = replace(whole, uids=tuple(whole.uids[i] for i in order), units=tuple(whole.units[i] for i in order))
    after = ig_search.advantages(exchanged(whole, method, (0, 1)), method)
    of_moved = ig_search.advantages(exchanged(moved, method, (0, 1)), method)
    assert torch.equal(of_moved, after[order])


def test_a_batch_without_scored_steps_stays_as_it_is() -> None:
    empty = CreditBatch(("a",), torch.zeros(1), torch.ones(1, 3).bool(), ((Unit(0, (0,)),),))
    assert exchanged(empty, PLAIN, (0,)) == empty


@pytest.mark.parametrize("name", ["grpo", "ig_search", "ig_search_shared"])
def test_only_the_control_exchanges(name: str) -> None:
    method, whole = METHODS[name], batch()
    assert controlled(whole, method, (0, 1)) is whole
    control = method.model_copy(update={"permuted": True})
    assert controlled(whole, control, (0, 1)).exchange == exchanged(whole, method, (0, 1)).exchange


def test_the_outcome_stays_where_it_was() -> None:
    mixed = replace(batch(), reward_B=torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]))
    silent = METHODS["ig_search"].model_copy(update={"alpha": 0.0})
    assert torch.equal(
        ig_search.advantages(exchanged(mixed, PLAIN, (0, 1)), silent), ig_search.advantages(mixed, silent)
    )
