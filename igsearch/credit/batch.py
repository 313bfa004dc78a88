"""What a credit rule sees: one row per rollout, with the units (search steps) inside it. No model, no text."""

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True)
class Unit:
    """One search step of one rollout.

    `positions` are the indices (into the response) of the sampled tokens of its query. `information_gain` is None where
    the step was not scored (no documents, empty pool, group not scored). `new_passages` counts passages the rollout had
    not seen before.
    """

    index: int
    positions: tuple[int, ...]
    information_gain: float | None = None
    new_passages: int = 0
    valid: bool = True


@dataclass(frozen=True)
class CreditBatch:
    """B rollouts, responses padded to L.

    uids: the group of each row. reward_B: float outcome rewards. loss_mask_BL: True on tokens the policy sampled.
    units: for each row its search steps in order.
    """

    uids: tuple[str, ...]
    reward_B: torch.Tensor
    loss_mask_BL: torch.Tensor
    units: tuple[tuple[Unit, ...], ...] = field(default=())
