"""MR-Search: leave-one-out per attempt, suffix sums, and what changes nothing."""

import math

import pytest
import torch

from igsearch.credit.batch import CreditBatch, TurnUnit
from igsearch.credit.mr_search import advantages, attempt_advantages, leave_one_out
from igsearch.methods import METHODS, CreditConfig, MrSearchConfig

MR_SEARCH = METHODS["mr_search"]


def batch_of(*rewards: tuple[float, ...], uids: str = "") -> CreditBatch:
    """One row per tuple: a token of the question's reply, then three tokens per attempt, the last of them injected."""
    mask_BL = torch.zeros(len(rewards), 1 + 3 * max(map(len, rewards)) + 1).bool()
    turns = []
    for row, attempts in enumerate(rewards):
        turns.append(tuple(TurnUnit((3 * n + 1, 3 * n + 2), attempt=n) for n in range(len(attempts))))
        for turn in turns[-1]:
            mask_BL[row, list(turn.positions)] = True
    last = torch.tensor([attempts[-1] for attempts in rewards])
    return CreditBatch(
        tuple(uids or "q" * len(rewards)), last, mask_BL, turns=tuple(turns), attempt_rewards=tuple(rewards)
    )


def by_attempt(batch: CreditBatch, config: CreditConfig = MR_SEARCH) -> list[list[float]]:
    """The advantage of each attempt's first token, row by row."""
    got = advantages(batch, config)
    return [[got[row, turn.positions[0]].item() for turn in turns] for row, turns in enumerate(batch.turns)]


def with_(**changes: object) -> CreditConfig:
    return MR_SEARCH.model_copy(update={"mr_search": MrSearchConfig.model_validate(changes)})


def test_vector_two_rollouts_two_attempts() -> None:
    centred = leave_one_out(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    assert centred.tolist() == [[0, 1], [0, -1]]
    assert by_attempt(batch_of((0.0, 1.0), (0.0, 0.0))) == [[1, 1], [-1, -1]]


def test_every_sampled_token_of_an_attempt_gets_its_value_and_injected_ones_nothing() -> None:
    got = advantages(batch_of((1.0, 0.0), (0.0, 0.0)), MR_SEARCH)
    assert got[0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert got[1].tolist() == [0, -1, -1, 0, 0, 0, 0, 0]


def test_gamma_weighs_what_later_attempts_bring() -> None:
    batch = batch_of((0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    assert by_attempt(batch, with_(gamma=0.5))[0] == [0.25, 0.5, 1]
    assert by_attempt(batch, with_(gamma=0.0))[0] == [0, 0, 1]


def test_leave_one_out_of_three_is_not_divided_by_a_deviation() -> None:
    assert by_attempt(batch_of((1.0,), (0.0,), (0.0,))) == [[1.0], [-0.5], [-0.5]]


def test_exploring_attempts_live_on_what_they_do_for_later_ones() -> None:
    batch = batch_of((1.0, 0.0), (0.0, 1.0))
    assert by_attempt(batch) == [[0, -1], [0, 1]]
    assert by_attempt(batch, with_(exploration_attempts=1)) == [[-1, -1], [1, 1]]


def test_a_group_of_one_and_a_group_of_equal_attempts_get_nothing() -> None:
    assert not advantages(batch_of((0.0, 1.0)), MR_SEARCH).any()
    assert not advantages(batch_of((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)), MR_SEARCH).any()


def test_a_failed_retriever_gets_nothing_and_enters_no_mean() -> None:
    failed = batch_of((1.0, 1.0), (0.0, 1.0), (math.nan,))
    got = advantages(failed, MR_SEARCH)
    assert not got[2].any()
    assert not got.isnan().any()
    assert by_attempt(failed)[:2] == by_attempt(batch_of((1.0, 1.0), (0.0, 1.0)))


def test_order_padding_and_other_groups_change_nothing() -> None:
    rows = [(1.0, 0.0, 1.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 1.0, 1.0)]
    whole = by_attempt(batch_of(*rows, uids="aabb"))
    order = [3, 0, 2, 1]
    assert by_attempt(batch_of(*(rows[i] for i in order), uids="baba")) == [whole[i] for i in order]
    assert by_attempt(batch_of(*rows[:2], uids="aa")) == whole[:2]
    padded = batch_of(*rows, uids="aabb")
    wide_BL = torch.nn.functional.pad(padded.loss_mask_BL, (0, 5))
    got = advantages(CreditBatch(**{**vars(padded), "loss_mask_BL": wide_BL}), MR_SEARCH)
    assert torch.equal(got[:, :-5], advantages(padded, MR_SEARCH))
    assert not got[:, -5:].any()


def test_a_masked_position_never_gets_credit() -> None:
    batch = batch_of((1.0, 1.0), (0.0, 0.0))
    batch.loss_mask_BL[:, 2] = False
    assert advantages(batch, MR_SEARCH)[:, 2].tolist() == [0, 0]


@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.0])
def test_the_advantages_of_a_group_sum_to_zero_in_every_attempt(gamma: float) -> None:
    rewards = [[1.0, 0.0, 0.3], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.2, 0.0, 0.0]]
    got = attempt_advantages(rewards, MrSearchConfig(gamma=gamma))
    assert got.sum(0).tolist() == pytest.approx([0, 0, 0])
