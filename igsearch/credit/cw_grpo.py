"""CW-GRPO: the advantage of a successful rollout goes to the search rounds that contributed to it.

    A_it = A_i * w_t * n   on the sampled tokens of search round t, where A_i > 0,     A_it = A_i elsewhere
    w_t = c_t / sum of c over the rounds, 0 where all are 0;     w = softmax(gamma * c) where gamma is given

A_i is GRPO's advantage, n the number of search rounds of the rollout, so that the factors w_t n have mean 1, and c_t
the step reward of round t, from 0 to 1. A round is a turn that executes a search, with the note on the last documents
that it may begin with; other turns (the answer, invalid ones) keep A_i. A rollout that is worse than its group keeps
A_i everywhere.

Source: arXiv 2604.14267 and its released code, whose main run has gamma infinite: c over its sum.

Deviations: c_t is what rewards/evidence.py finds, not what a language model judges; turns without action keep A_i,
where the code takes every turn but the last for a round. As there, a success without any evidence silences its
searches.
"""

import math
from collections.abc import Sequence

import torch

from igsearch.credit.advantage import group_advantage
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig, CwGrpoConfig


def weights(contributions: Sequence[float], gamma: float | None) -> list[float]:
    """The weight of each round; they sum to 1, or to 0 where no round contributed and `gamma` is None (infinite)."""
    most = max(contributions, default=0.0)
    powers = list(contributions) if gamma is None else [math.exp(gamma * (each - most)) for each in contributions]
    total = sum(powers)
    return [power / total if total else 0.0 for power in powers]


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    settings = config.cw_grpo or CwGrpoConfig()
    advantage_B = group_advantage(batch.reward_B, batch.uids, config.normalise_std)
    advantage_BL = advantage_B[:, None] * batch.loss_mask_BL
    for row in (advantage_B > 0).nonzero().flatten().tolist():
        rounds = [turn for turn in batch.turns[row] if turn.step is not None]
        contributions = [batch.units[row][turn.step or 0].reward or 0.0 for turn in rounds]
        for turn, weight in zip(rounds, weights(contributions, settings.gamma), strict=True):
            advantage_BL[row, list(turn.positions)] *= weight * len(rounds)
    return advantage_BL
