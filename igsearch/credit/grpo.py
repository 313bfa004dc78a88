"""GRPO: every sampled token of a rollout gets the rollout's advantage.

    A_ip = A_i  on sampled tokens,  0 elsewhere

Source: arXiv 2402.03300; masking of injected tokens as in Search-R1 (arXiv 2503.09516).

Deviations: none beyond those of credit/advantage.py.
"""

import torch

from igsearch.credit.advantage import group_advantage
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    advantage_B = group_advantage(batch.reward_B, batch.uids, config.normalise_std)
    return advantage_B[:, None] * batch.loss_mask_BL
