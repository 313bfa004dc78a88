"""What a credit rule sees: one row per rollout, with the units inside it. No model, no text but the anchors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

Place = tuple[int, int]
"""A search step of a batch: its row, and its place in that row's units."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One search step of one rollout.

    `positions` are the indices (into the response) of the sampled tokens of its query, `think` those of the thoughts in
    the turn that wrote it. `information_gain` is None where the step was not scored (no documents, empty pool, group
    not scored). `new_passages` counts passages the rollout had not seen before. `reward` is the step reward of methods
    that have one of another kind (`CreditConfig.step_reward`); `closing` is the index of the token that completes the
    query's closing tag.
    """

    index: int
    positions: tuple[int, ...]
    information_gain: float | None = None
    new_passages: int = 0
    reward: float | None = None
    closing: int | None = None
    think: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnUnit:
    """One turn of one rollout: what the policy wrote between two moves of the environment.

    `positions` are the indices of its tokens. `anchor` is the state in which it was written: the question, or the text
    of the documents found last. `step` is the search it executed, None for an answer or an invalid turn. `attempt`
    counts the episodes within the rollout. `belief` is the mean log-probability of the gold answer after the turn, in
    nats per token, None where it was not measured.
    """

    positions: tuple[int, ...]
    anchor: str = ""
    step: int | None = None
    valid: bool = True
    attempt: int = 0
    belief: float | None = None


@dataclass(frozen=True)
class CreditBatch:
    """B rollouts, responses padded to L.

    uids: the group of each row. reward_B: float outcome rewards, NaN where the retriever failed. loss_mask_BL: True on
    tokens the policy sampled. units: for each row its search steps in order. turns: for each row its turns in order.
    first_belief: for each row the belief before any turn, None where it was not measured. attempt_rewards: for each row
    the outcome reward of each of its attempts. answered: for each row whether it gave a complete answer.
    exchange: in a random control (credit/control.py) for each scored step the one whose bonus it gets.
    """

    uids: tuple[str, ...]
    reward_B: torch.Tensor
    loss_mask_BL: torch.Tensor
    units: tuple[tuple[Unit, ...], ...] = field(default=())
    turns: tuple[tuple[TurnUnit, ...], ...] = field(default=())
    first_belief: tuple[float | None, ...] = field(default=())
    attempt_rewards: tuple[tuple[float, ...], ...] = field(default=())
    answered: tuple[bool, ...] = field(default=())
    exchange: Mapping[Place, Place] = field(default_factory=dict)
