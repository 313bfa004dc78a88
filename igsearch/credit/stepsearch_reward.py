"""The step rewards of StepSearch in GRPO: what a search brought is credited to everything that led to it.

    A_ip = A_i + weight * sum over searches t with c_t >= p of decay^(c_t - p) * r_it   on sampled tokens,  0 elsewhere

A_i is GRPO's advantage, r_it the step reward of search t (rewards/stepsearch.py), placed at c_t, the token that
completes its closing tag.

Source: StepSearch (arXiv 2505.15107), weight 0.6; there the reward at the closing token enters PPO with GAE, gamma =
lambda = 1, which adds to the advantage of every token what comes after it: decay 1. decay 0 leaves it on the closing
token alone.

Deviations: GRPO's group takes the place of the critic for the outcome, and nothing takes its place for the step
rewards; advantages are not whitened over the batch. As its code is written, the weight is applied in place and added
again, which makes it 1.6; here it is what it says. Steps without a reward add nothing; a rollout without an outcome
reward (NaN: its retriever failed) has advantage 0.
"""

import torch

from igsearch.credit import grpo
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig, StepSearchRewardConfig


def returns(batch: CreditBatch, row: int, decay: float) -> torch.Tensor:
    """The decayed sum, for every token of a row, of the step rewards at it and after it, [L]."""
    length = batch.loss_mask_BL.shape[1]
    position_L = torch.arange(length)
    return_L = torch.zeros(length, dtype=batch.reward_B.dtype)
    for unit in batch.units[row]:
        if unit.reward is not None and unit.closing is not None:
            distance_L = unit.closing - position_L
            decayed_L = torch.tensor(decay, dtype=return_L.dtype) ** distance_L.clamp(min=0)
            return_L += unit.reward * decayed_L * (distance_L >= 0)
    return return_L


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    settings = config.stepsearch_reward or StepSearchRewardConfig()
    advantage_BL = grpo.advantages(batch, config)
    for row in (~batch.reward_B.isnan()).nonzero().flatten().tolist():
        advantage_BL[row] += settings.weight * returns(batch, row, settings.decay)
    return advantage_BL * batch.loss_mask_BL
