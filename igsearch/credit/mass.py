"""How much of the advantages comes from the steps, and how much of that where the outcome says nothing.

    step_share = sum |A - O| / sum (|A - O| + |O|),     O = GRPO's advantages of the same batch

over the sampled tokens. In a group of equal rewards O is 0, and all that moves the policy there is A.
"""

from collections.abc import Sequence

import torch

from igsearch.credit.advantage import groups_of


def step_mass(uids: Sequence[str], advantage_BL: torch.Tensor, outcome_BL: torch.Tensor) -> dict[str, float]:
    """The shares of the whole mass that the step signal adds, overall and in groups without outcome variance.

    `advantage_BL` are a rule's, `outcome_BL` GRPO's. A group is uniform where every one of its outcome advantages is 0.
    """
    step_B = (advantage_BL - outcome_BL).abs().sum(-1, dtype=torch.float64)
    outcome_B = outcome_BL.abs().sum(-1, dtype=torch.float64)
    uniform = [row for rows in groups_of(uids) if not bool(outcome_B[rows].any()) for row in rows]
    whole = max(float((step_B + outcome_B).sum()), torch.finfo(torch.float64).tiny)
    return {
        "credit/step_share": float(step_B.sum()) / whole,
        "credit/step_share_uniform_groups": float(step_B[uniform].sum()) / whole,
    }
