"""Step rewards in GRPO: what follows a token is added to its advantage, decayed, on sampled tokens only."""

import math
from collections.abc import Sequence

import pytest
import torch

from igsearch.credit import grpo
from igsearch.credit.batch import CreditBatch, Unit
from igsearch.credit.stepsearch_reward import advantages
from igsearch.methods import METHODS, CreditConfig, StepSearchRewardConfig

CONFIG = METHODS["stepsearch_reward"]
LENGTH = 8  # tokens 3 and 6 are injected; searches close at 2 and 5


def with_(**changes: float) -> CreditConfig:
    settings = StepSearchRewardConfig.model_validate(changes)
    return CONFIG.model_copy(update={"stepsearch_reward": settings})


def batch_of(
    rewards: Sequence[float], steps: Sequence[Sequence[float | None]], uids: str = "", pad: int = 0
) -> CreditBatch:
    mask_BL = torch.zeros(len(rewards), LENGTH + pad).bool()
    mask_BL[:, [0, 1, 2, 4, 5, 7]] = True
    units = tuple(
        tuple(Unit(index, (), reward=value, closing=(2, 5)[index]) for index, value in enumerate(row)) for row in steps
    )
    return CreditBatch(tuple(uids or "q" * len(rewards)), torch.tensor(rewards), mask_BL, units)


def test_every_token_gets_the_step_rewards_that_follow_it() -> None:
    got = advantages(batch_of([0.0, 0.0], [[0.5, -1.0], [None, 0.25]]), CONFIG)
    assert got[0].tolist() == pytest.approx([-0.3, -0.3, -0.3, 0, -0.6, -0.6, 0, 0])
    assert got[1].tolist() == pytest.approx([0.15, 0.15, 0.15, 0, 0.15, 0.15, 0, 0])


def test_decay_0_leaves_the_reward_on_the_closing_token() -> None:
    got = advantages(batch_of([0.0, 0.0], [[0.5, -1.0], []]), with_(decay=0.0))
    assert got[0].tolist() == pytest.approx([0, 0, 0.3, 0, 0, -0.6, 0, 0])


def test_decay_is_per_token() -> None:
    got = advantages(batch_of([0.0, 0.0], [[1.0], []]), with_(decay=0.5, weight=1.0))
    assert got[0].tolist() == pytest.approx([0.25, 0.5, 1, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("config", [with_(weight=0.0), CONFIG])
def test_without_step_rewards_it_is_grpo_bit_for_bit(config: CreditConfig) -> None:
    steps = [[0.5, -1.0], [1.0]] if config is not CONFIG else [[None, None], []]
    batch = batch_of([1.0, 0.0], steps)
    assert advantages(batch, config).equal(grpo.advantages(batch, config))


def test_neither_order_nor_padding_nor_other_groups_change_a_row() -> None:
    rewards, steps = [1.0, 0.0, 0.3, 0.9], [[0.5], [0.2, -1.0], [1.0], []]
    alone = advantages(batch_of(rewards[:2], steps[:2]), CONFIG)
    order = [2, 1, 3, 0]
    mixed = batch_of([rewards[i] for i in order], [steps[i] for i in order], "".join("aabb"[i] for i in order), pad=3)
    got = advantages(mixed, CONFIG)
    for i in (0, 1):
        assert got[order.index(i), :LENGTH].tolist() == alone[i].tolist()
    assert not got[:, LENGTH:].any()


def test_masked_tokens_get_zero_and_failed_rollouts_nothing() -> None:
    got = advantages(batch_of([1.0, 0.0, math.nan], [[0.5], [0.5], [0.5]]), CONFIG)
    assert not got[:, [3, 6]].any()
    assert not got[2].any()
    assert got[:2].tolist() == advantages(batch_of([1.0, 0.0], [[0.5], [0.5]]), CONFIG).tolist()
