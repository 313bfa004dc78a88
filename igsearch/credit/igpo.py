"""IGPO: every turn is rewarded with what it added to the belief in the gold answer, the last one with the outcome.

    r_t = b_t - b_{t-1}   for the turns before the last,      r_T = F1, or -format_penalty without an answer
    A_t = sum_{k >= t} gamma^(k-t) * (r_k - mean) / (std + 1e-6)   on the sampled tokens of turn t

Source: arXiv 2510.14967 and the authors' released code. b_t is the mean log-probability of the gold answer after turn t
(rewards/belief.py); `difference="probability"` takes exp(b_t) - exp(b_{t-1}), as its first version did. Mean and std
(population, sqrt(var + 1e-8)) are those of the group, over all its rollouts and turns: of turn rewards and outcomes
apart, or of both together (`normalise="joint"`). Normalised first, discounted after.

Deviations. Turns are known from provenance: where the released code finds them by looking for rewards that are not
zero, and so stores an exact zero as 1e-10, a zero here is a zero. A rollout with a turn before the last that brought no
documents (neither a search nor an answer) has fewer beliefs than turns and, as in the released code, is credited by its
outcome alone. Values that are all equal give exactly 0. A rollout without a reward (NaN: its retriever failed) has
advantage 0 and enters no statistic.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

import torch

from igsearch.credit.advantage import groups_of
from igsearch.credit.batch import CreditBatch
from igsearch.errors import UserError
from igsearch.methods import CreditConfig, IgpoConfig

EPSILON, VARIANCE_FLOOR = 1e-6, 1e-8


def turn_rewards(first: float | None, beliefs: Sequence[float | None], config: IgpoConfig) -> list[float]:
    """The rewards of the turns before the last, from the beliefs before any and after each; [] if one is unknown."""
    measured = [belief for belief in (first, *beliefs) if belief is not None and math.isfinite(belief)]
    if len(measured) != len(beliefs) + 1:
        return []
    values = [math.exp(belief) for belief in measured] if config.difference == "probability" else measured
    return [after - before for before, after in pairwise(values)]


def normaliser(values: Sequence[float]) -> tuple[float, float]:
    """Mean and divisor of the z-score; a single value is only centred."""
    mean = statistics.fmean(values) if len(set(values)) != 1 else values[0]
    variance = statistics.fmean((value - mean) ** 2 for value in values)
    return mean, (math.sqrt(variance + VARIANCE_FLOOR) if len(values) > 1 else 1.0) + EPSILON


def _outcome(batch: CreditBatch, row: int, config: IgpoConfig) -> float:
    return float(batch.reward_B[row]) if batch.answered[row] else -config.format_penalty


def _of_rollout(gains: Sequence[float], outcome: float, turns: int, gamma: float) -> list[float]:
    """The advantage of each turn from normalised rewards; without gains every turn but the last has reward 0."""
    rewards = [*(gains or [0.0] * (turns - 1)), outcome]
    later = 0.0
    advantages = []
    for reward in reversed(rewards):
        later = reward + gamma * later
        advantages.append(later)
    return advantages[::-1]


def _turn_advantages(batch: CreditBatch, rows: Sequence[int], config: IgpoConfig) -> list[list[float]]:
    """For each of the rollouts of one group the advantages of its turns."""
    beliefs = [[turn.belief for turn in batch.turns[row][:-1]] for row in rows]
    gains = [turn_rewards(batch.first_belief[row], each, config) for row, each in zip(rows, beliefs, strict=True)]
    outcomes = [_outcome(batch, row, config) for row in rows]
    of_gains, of_outcomes = [gain for each in gains for gain in each], outcomes
    if config.normalise == "joint":
        of_gains = of_outcomes = [*of_gains, *outcomes]
    gain_mean, gain_spread = normaliser(of_gains) if of_gains else (0.0, 1.0)
    mean, spread = normaliser(of_outcomes)
    return [
        _of_rollout(
            [(gain - gain_mean) / gain_spread for gain in each],
            (outcome - mean) / spread,
            len(batch.turns[row]),
            config.gamma,
        )
        for row, each, outcome in zip(rows, gains, outcomes, strict=True)
    ]


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]. UserError where the settings of the method lack those of this rule."""
    if config.igpo is None:
        raise UserError("the rule igpo needs the setting igpo of its method; set it to {} for its defaults")
    advantage_BL = torch.zeros(batch.loss_mask_BL.shape, dtype=batch.reward_B.dtype)
    for group in groups_of(batch.uids):
        rows = [row for row in group if not bool(batch.reward_B[row].isnan()) and batch.turns[row]]
        if not rows:
            continue
        for row, of_turns in zip(rows, _turn_advantages(batch, rows, config.igpo), strict=True):
            for turn, value in zip(batch.turns[row], of_turns, strict=True):
                advantage_BL[row, list(turn.positions)] = value
    return advantage_BL * batch.loss_mask_BL
