"""How much of the advantages comes from the steps, and how much of that where the outcome says nothing.

    step_share = sum |A - O| / sum (|A - O| + |O|),     O = what the same rule gives with its step signal off

over the sampled tokens. O is GRPO's advantage for rules that add to it or share it out (IG-Search, StepSearch,
CW-GRPO), GiGPO's without the comparison within states, and IGPO's without beliefs.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from igsearch.credit import gigpo, grpo, igpo
from igsearch.credit.advantage import uniform_rows
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig, GigpoConfig


def _without_states(batch: CreditBatch, method: CreditConfig) -> torch.Tensor:
    settings = (method.gigpo or GigpoConfig()).model_copy(update={"omega": 0.0})
    return gigpo.advantages(batch, method.model_copy(update={"gigpo": settings}))


def _without_beliefs(batch: CreditBatch, method: CreditConfig) -> torch.Tensor:
    turns = tuple(tuple(replace(turn, belief=None) for turn in row) for row in batch.turns)
    return igpo.advantages(replace(batch, turns=turns, first_belief=(None,) * len(batch.uids)), method)


_WITHOUT: Mapping[str, Callable[[CreditBatch, CreditConfig], torch.Tensor]] = {
    "ig_search": grpo.advantages,
    "cw_grpo": grpo.advantages,
    "stepsearch_reward": grpo.advantages,
    "gigpo": _without_states,
    "igpo": _without_beliefs,
}


def without_steps(batch: CreditBatch, method: CreditConfig) -> torch.Tensor | None:
    """The advantages of the method's rule with its step signal off, float [B, L].

    None for rules that have no such signal (in MR-Search it is the outcomes of attempts) or come from outside.
    """
    rule = _WITHOUT.get(method.rule)
    return rule(batch, method) if rule else None


def step_mass(batch: CreditBatch, advantage_BL: torch.Tensor, outcome_BL: torch.Tensor) -> dict[str, float]:
    """The shares of the whole mass that the step signal adds, overall and in groups of equal outcome rewards.

    `advantage_BL` are a rule's advantages, `outcome_BL` those of `without_steps`.
    """
    step_B = (advantage_BL - outcome_BL).abs().sum(-1, dtype=torch.float64)
    outcome_B = outcome_BL.abs().sum(-1, dtype=torch.float64)
    uniform = sorted(uniform_rows(batch.reward_B, batch.uids))
    whole = max(float((step_B + outcome_B).sum()), torch.finfo(torch.float64).tiny)
    return {
        "credit/step_share": float(step_B.sum()) / whole,
        "credit/step_share_uniform_groups": float(step_B[uniform].sum()) / whole,
    }
