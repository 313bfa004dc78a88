"""REINFORCE: every sampled token of a rollout gets the rollout's own reward; rollouts are not compared.

    A_ip = R_i  on sampled tokens,  0 elsewhere

Source: Williams 1992; as the group size of one that Search-R1 (arXiv 2503.09516) tries beside GRPO: mean 0 and standard
deviation 1 take the place of the group's statistics.

Deviations: the division by 1 + 1e-6 that this leaves in the code of Search-R1 is left out. A rollout without a reward
(NaN: its retriever failed) has advantage 0.
"""

import torch

from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    return batch.reward_B.nan_to_num(nan=0.0)[:, None] * batch.loss_mask_BL
