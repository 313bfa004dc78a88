"""RLOO: every sampled token gets the rollout's reward minus the mean reward of the others of its group.

    A_i = R_i - mean of R_j over j in g, j != i,     A_ip = A_i  on sampled tokens,  0 elsewhere

Source: REINFORCE leave-one-out (arXiv 2402.14740). Equal to G / (G - 1) times the group-centred reward, without a
standard deviation.

Deviations: the KL to the reference policy is a term of the loss (`train.beta`), not a part of the reward. A group of
equal rewards gives exactly 0. A rollout without a reward (NaN: its retriever failed) has advantage 0 and is no other's
baseline; one that is left alone so has advantage 0 as well.
"""

from collections.abc import Sequence

import torch

from igsearch.credit.advantage import group_advantage, groups_of
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig


def leave_one_out(reward_B: torch.Tensor, uids: Sequence[str]) -> torch.Tensor:
    """Reward of each rollout minus the mean of the others with its uid, float [B]; 0 for NaN and where none is left."""
    advantage_B = torch.zeros_like(reward_B)
    for group in groups_of(uids):
        rows = [row for row in group if not bool(reward_B[row].isnan())]
        if len(rows) > 1:
            centred_G = group_advantage(reward_B[rows], [uids[row] for row in rows], normalise_std=False)
            advantage_B[rows] = centred_G * len(rows) / (len(rows) - 1)
    return advantage_B


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    return leave_one_out(batch.reward_B, batch.uids)[:, None] * batch.loss_mask_BL
