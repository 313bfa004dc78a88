"""The rules without standard deviation: a rollout's own reward, and its reward against the mean of the others."""

import math

import pytest
import torch

from igsearch.credit import reinforce, rloo
from igsearch.credit.batch import CreditBatch
from igsearch.methods import METHODS


def batch_of(rewards: list[float], uids: str, length: int = 3) -> CreditBatch:
    """Rows whose last token was not sampled."""
    mask_BL = torch.ones(len(rewards), length).bool()
    mask_BL[:, -1] = False
    return CreditBatch(tuple(uids), torch.tensor(rewards), mask_BL)


def test_rloo_vector_one_right_of_five() -> None:
    got = rloo.leave_one_out(torch.tensor([1.0, 0, 0, 0, 0]), "qqqqq")
    assert got.tolist() == pytest.approx([1, -0.25, -0.25, -0.25, -0.25])


def test_rloo_is_the_reward_minus_the_mean_of_the_others() -> None:
    reward_B = torch.tensor([0.3, 0.9, 0.4, 0.1])
    expected = [float(reward_B[i] - reward_B[[j for j in range(4) if j != i]].mean()) for i in range(4)]
    assert rloo.leave_one_out(reward_B, "qqqq").tolist() == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_rloo_of_equal_rewards_is_exactly_zero(value: float) -> None:
    assert rloo.leave_one_out(torch.full((7,), value), "q" * 7).tolist() == [0.0] * 7


def test_rloo_leaves_out_rollouts_without_a_reward() -> None:
    assert rloo.leave_one_out(torch.tensor([1.0, math.nan, 0.0]), "qqq").tolist() == [1.0, 0.0, -1.0]
    assert rloo.leave_one_out(torch.tensor([1.0, math.nan]), "qq").tolist() == [0.0, 0.0]
    assert rloo.leave_one_out(torch.tensor([1.0]), "q").tolist() == [0.0]


def test_reinforce_gives_every_sampled_token_the_reward_itself() -> None:
    got = reinforce.advantages(batch_of([1.0, 0.0, math.nan, 0.4], "abcd"), METHODS["reinforce"])
    assert got.tolist() == [pytest.approx([value, value, 0]) for value in (1.0, 0.0, 0.0, 0.4)]


@pytest.mark.parametrize("rule", [reinforce, rloo])
def test_neither_order_nor_padding_nor_other_groups_change_a_row(rule) -> None:  # type: ignore[no-untyped-def]
    config = METHODS["rloo"]
    alone = rule.advantages(batch_of([1.0, 0.0, 0.5], "aaa"), config)
    order = [3, 1, 0, 4, 2]
    rewards, uids = [1.0, 0.0, 0.5, 0.9, math.nan], "aaabb"
    mixed = rule.advantages(batch_of([rewards[i] for i in order], "".join(uids[i] for i in order), 9), config)
    for place, i in enumerate(order):
        if i < 3:
            assert mixed[place, :2].tolist() == alone[i, :2].tolist()
    assert not mixed[:, -1].any()
