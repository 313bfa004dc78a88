"""GiGPO: a rollout against its group, and each turn against the turns that were written in the same state.

    A_it = AE_it + omega AS_it   on the sampled tokens of turn t,  0 elsewhere
    AE_it = norm of S_it over the turns of the question,   S_it = R_i - penalty * [t is invalid]
    AS_it = norm of R_it over the turns in its state,      R_it = gamma^(T_i - 1 - t) R_i - penalty * [t is invalid]

norm(x) = (x - mean) / (std + 1e-6), ddof = 1, or x - mean where `normalise_std` is off. R_i is the outcome reward, T_i
the number of turns. A state is the question, or the documents found last; two are the same if the Ratcliff-Obershelp
ratio 2M / (|a| + |b|) of their texts reaches `similarity`: each turn joins the first state, in order, whose first
member is as alike as that. So the order of a question's rollouts can matter, which it does nowhere else.

Source: GiGPO (arXiv 2505.10978), Eq. 3 and 5 to 8, and the code of verl-agent, whose statistics are over turns, so that
a long rollout counts more; `statistics_over_turns: false` counts every rollout once, by its first turn. A lone turn of
a question has AE = S, a lone turn of a state AS = 0.

Deviations: one row per rollout with its turns in it, where the original cuts it into rows that see a shortened history.
No character counts as junk in the ratio. Equal values give exactly 0, and values whose statistics have no spread are
centred but not divided. A rollout without a reward (NaN: its retriever failed) has advantage 0 and enters no statistic
and no state; one that is left alone so has advantage 0 as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch

from igsearch.credit.advantage import EPSILON, groups_of
from igsearch.credit.batch import CreditBatch, TurnUnit
from igsearch.methods import CreditConfig, GigpoConfig


@dataclass(frozen=True, slots=True)
class _Sample:
    """One turn: its rollout, whether it is the first, and its two values."""

    row: int
    first: bool
    turn: TurnUnit
    score: float
    discounted: float


def _home(anchor: str, firsts: Sequence[SequenceMatcher[str]], similarity: float) -> int:
    """The place of the first text that `anchor` is as alike as that to; the number of texts where there is none."""
    for place, first in enumerate(firsts):
        first.set_seq1(anchor)
        # The first two are upper bounds of the third, and much faster.
        if all(ratio() >= similarity for ratio in (first.real_quick_ratio, first.quick_ratio, first.ratio)):
            return place
    return len(firsts)


def states(anchors: Sequence[str], similarity: float | None) -> list[list[int]]:
    """The indices of the anchors of each state, states in order of first appearance; None for equal texts only."""
    if similarity is None:
        return groups_of(anchors)
    members: list[list[int]] = []
    firsts: list[SequenceMatcher[str]] = []  # each has indexed the first member of its state, once
    known: dict[str, list[int]] = {}
    for index, anchor in enumerate(anchors):
        if anchor not in known:
            home = _home(anchor, firsts, similarity)
            if home == len(members):
                members.append([])
                firsts.append(SequenceMatcher(None, "", anchor, autojunk=False))
            known[anchor] = members[home]
        known[anchor].append(index)
    return members


def _norm(value_N: torch.Tensor, sample_K: torch.Tensor, divide: bool) -> torch.Tensor:
    """Values centred on the mean of a sample of at least two and, where it has spread, divided by its deviation."""
    if bool((sample_K == sample_K[0]).all()):
        return value_N - sample_K[0]
    centred_N = value_N - sample_K.mean()
    return centred_N / (sample_K.std(unbiased=True) + EPSILON) if divide else centred_N


def _episode(samples: Sequence[_Sample], config: CreditConfig, settings: GigpoConfig) -> torch.Tensor:
    """AE of each turn of one question, [N]."""
    score_N = torch.tensor([sample.score for sample in samples])
    counted = [place for place, sample in enumerate(samples) if sample.first or settings.statistics_over_turns]
    if len(counted) == 1:
        return score_N / (1 + EPSILON) if config.normalise_std else score_N
    return _norm(score_N, score_N[counted], config.normalise_std)


def _step(samples: Sequence[_Sample], config: CreditConfig, settings: GigpoConfig) -> torch.Tensor:
    """AS of each turn of one question, [N]."""
    discounted_N = torch.tensor([sample.discounted for sample in samples])
    advantage_N = torch.zeros_like(discounted_N)
    for members in states([sample.turn.anchor for sample in samples], settings.similarity):
        if len(members) > 1:
            advantage_N[members] = _norm(discounted_N[members], discounted_N[members], config.normalise_std)
    return advantage_N


def _samples(batch: CreditBatch, row: int, settings: GigpoConfig) -> Iterator[_Sample]:
    reward, turns = float(batch.reward_B[row]), batch.turns[row]
    for place, turn in enumerate(turns):
        penalty = 0.0 if turn.valid else settings.invalid_penalty
        discounted = settings.gamma ** (len(turns) - 1 - place) * reward
        yield _Sample(row, place == 0, turn, reward - penalty, discounted - penalty)


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    settings = config.gigpo or GigpoConfig()
    advantage_BL = torch.zeros(batch.loss_mask_BL.shape, dtype=batch.reward_B.dtype)
    for group in groups_of(batch.uids):
        rows = [row for row in group if not bool(batch.reward_B[row].isnan())]
        samples = [sample for row in rows for sample in _samples(batch, row, settings)]
        if not samples or len(rows) == 1 < len(group):
            continue
        advantage_N = _episode(samples, config, settings) + settings.omega * _step(samples, config, settings)
        for sample, value in zip(samples, advantage_N, strict=True):
            advantage_BL[sample.row, list(sample.turn.positions)] = value
    return advantage_BL * batch.loss_mask_BL
