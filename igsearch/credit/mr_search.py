"""MR-Search: each attempt is compared with the same attempt of the group's other rollouts, and hears of the later ones.

    r'_in = m_n (r_in - mean over j != i of r_jn),   A_in = sum over n' >= n of gamma^(n' - n) r'_in'

on the sampled tokens of attempt n of rollout i. r_in is the reward of the answer given in attempt n, 0 without one; the
mean is over the other rollouts of the question, and nothing is divided by a standard deviation.

Source: arXiv 2603.11327 (turn-level leave-one-out baseline). gamma = 1. m_n = 0 for the first `exploration_attempts`
is the paper's exploration variant, off by default: these attempts live on what they do for the later ones.

Deviations: a rollout without a reward (NaN: its retriever failed) has advantage 0 and enters no mean. The authors' code
has further terms that are off by default there (a bonus for improvement, a penalty for repeated answers, an extra
outcome term); they are left out.
"""

from collections.abc import Sequence

import torch

from igsearch.credit.advantage import groups_of
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig, MrSearchConfig


def leave_one_out(reward_GN: torch.Tensor) -> torch.Tensor:
    """Each reward minus the mean of the others in its column; 0 for a group of one."""
    size = len(reward_GN)
    if size == 1:
        return torch.zeros_like(reward_GN)
    return (reward_GN - reward_GN.mean(0)) * size / (size - 1)


def suffix_sums(value_GN: torch.Tensor, gamma: float) -> torch.Tensor:
    """For each column the discounted sum of it and all later ones."""
    total_GN = value_GN.clone()
    for n in reversed(range(value_GN.shape[1] - 1)):
        total_GN[:, n] += gamma * total_GN[:, n + 1]
    return total_GN


def attempt_advantages(rewards: Sequence[Sequence[float]], config: MrSearchConfig) -> torch.Tensor:
    """[G, N] from the rewards of the N attempts of the G rollouts of one question."""
    value_GN = leave_one_out(torch.tensor(rewards, dtype=torch.float64))
    value_GN[:, : config.exploration_attempts] = 0.0
    return suffix_sums(value_GN, config.gamma)


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    settings = config.mr_search or MrSearchConfig()
    advantage_BL = torch.zeros(batch.loss_mask_BL.shape, dtype=batch.reward_B.dtype)
    for group in groups_of(batch.uids):
        rows = [row for row in group if not bool(batch.reward_B[row].isnan())]
        if not rows:
            continue
        value_GN = attempt_advantages([batch.attempt_rewards[row] for row in rows], settings)
        for row, value_N in zip(rows, value_GN, strict=True):
            for turn in batch.turns[row]:
                advantage_BL[row, list(turn.positions)] = value_N[turn.attempt].to(advantage_BL.dtype)
    return advantage_BL * batch.loss_mask_BL
