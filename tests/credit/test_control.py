"""The random control: the same step rewards, at other places, the same for every cutting of the batch."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from igsearch.credit import ig_search
from igsearch.credit.batch import CreditBatch, Unit
from igsearch.credit.control import controlled, permuted
from igsearch.methods import METHODS

PLACES = [(row, step) for row in range(6) for step in range(3)]
UNSCORED = {(0, 1), (4, 2)}


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


def rewards(of: CreditBatch) -> list[tuple[float | None, int]]:
    return [(unit.information_gain, unit.new_passages) for row in of.units for unit in row]


def test_scored_steps_exchange_their_gains_with_what_they_brought() -> None:
    before, after = batch(), permuted(batch(), (0, 1))
    assert Counter(rewards(before)) == Counter(rewards(after))
    assert rewards(before) != rewards(after)
    for (row, step), (gain, _) in zip(PLACES, rewards(after), strict=True):
        assert (gain is None) == ((row, step) in UNSCORED)


def test_nothing_but_gain_and_novelty_moves() -> None:
    for old, new in zip(batch().units, permuted(batch(), (0, 1)).units, strict=True):
        assert [(u.index, u.positions) for u in old] == [(u.index, u.positions) for u in new]


def test_the_draw_is_keyed_by_run_and_step() -> None:
    draws = {tuple(rewards(permuted(batch(), (seed, step)))) for seed in range(3) for step in range(3)}
    assert len(draws) == 9
    assert rewards(permuted(batch(), (2, 2))) == rewards(permuted(batch(), (2, 2)))


def test_the_order_of_the_groups_changes_nothing() -> None:
    order = [1, 3, 5, 0, 2, 4]
    whole = batch()
    moved = replace(whole, uids=tuple(whole.uids[i] for i in order), units=tuple(whole.units[i] for i in order))
    after, of_moved = permuted(whole, (0, 1)), permuted(moved, (0, 1))
    assert of_moved.units == tuple(after.units[i] for i in order)


def test_a_batch_without_scored_steps_stays_as_it_is() -> None:
    empty = CreditBatch(("a",), torch.zeros(1), torch.ones(1, 3).bool(), ((Unit(0, (0,)),),))
    assert permuted(empty, (0,)) == empty


@pytest.mark.parametrize("name", ["ig_search", "ig_search_shared"])
def test_only_the_control_is_permuted(name: str) -> None:
    method, whole = METHODS[name], batch()
    assert controlled(whole, method, (0, 1)) is whole
    assert controlled(whole, METHODS["grpo"], (0, 1)) is whole
    gain = method.information_gain
    assert gain is not None
    control = method.model_copy(update={"information_gain": gain.model_copy(update={"permuted": True})})
    assert controlled(whole, control, (0, 1)).units == permuted(whole, (0, 1)).units


def test_the_bonuses_of_the_control_have_the_scale_of_the_real_ones() -> None:
    """Without centring the same values are spent, on other queries."""
    method = METHODS["ig_search"]
    real = ig_search.credited(batch(), method).values()
    random = ig_search.credited(permuted(batch(), (0, 1)), method).values()
    assert sorted(real) == sorted(random)
    assert list(real) != list(random)
