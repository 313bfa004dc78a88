"""The group-relative advantage that every rule here starts from.

    A_i = (R_i - mean(R_g)) / (std(R_g) + 1e-6),   std with ddof = 1,   g = the rollouts of one question

Source: GRPO (arXiv 2402.03300) as in the code of Search-R1 (arXiv 2503.09516). A group of one keeps its reward (mean 0,
std 1). `mean only` leaves out the division (Dr. GRPO, arXiv 2503.20783).

Deviations: a group of equal rewards gives exactly 0, not a rounding error divided by 1e-6. A rollout without a reward
(NaN: its retriever failed) has advantage 0 and is no part of its group's statistics; one that is left alone so has
nothing to be compared with, and advantage 0 as well.
"""

import math
from collections.abc import Sequence

import torch

EPSILON = 1e-6


def groups_of(uids: Sequence[str]) -> list[list[int]]:
    """The rows of each group, groups in order of first appearance."""
    rows: dict[str, list[int]] = {}
    for row, uid in enumerate(uids):
        rows.setdefault(uid, []).append(row)
    return list(rows.values())


def uniform_rows(reward_B: torch.Tensor, uids: Sequence[str]) -> set[int]:
    """The rows of the groups whose rewards are all equal; NaN is no reward."""
    groups = groups_of(uids)
    return {row for rows in groups if len(_known(reward_B[rows])) < 2 for row in rows}


def _known(reward_G: torch.Tensor) -> set[float]:
    return {reward for reward in reward_G.tolist() if not math.isnan(reward)}


def _of_group(reward_G: torch.Tensor, normalise_std: bool) -> torch.Tensor:
    if len(reward_G) == 1:
        return reward_G / (1 + EPSILON) if normalise_std else reward_G
    if bool((reward_G == reward_G[0]).all()):
        return torch.zeros_like(reward_G)
    centred_G = reward_G - reward_G.mean()
    return centred_G / (reward_G.std(unbiased=True) + EPSILON) if normalise_std else centred_G


def group_advantage(reward_B: torch.Tensor, uids: Sequence[str], normalise_std: bool = True) -> torch.Tensor:
    """Advantage of each rollout, float [B]. `uids` name the group of each row; NaN rewards get 0."""
    advantage_B = torch.zeros_like(reward_B)
    for group in groups_of(uids):
        rows = [row for row in group if not bool(reward_B[row].isnan())]
        if len(rows) > 1 or len(group) == 1 == len(rows):
            advantage_B[rows] = _of_group(reward_B[rows], normalise_std)
    return advantage_B
