"""Credit rules: rewards and search steps in, token advantages out. One file per method, pure functions."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from igsearch.credit.outside import look_in_working_folder
from igsearch.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

    from igsearch.credit.batch import CreditBatch
    from igsearch.methods import CreditConfig

    CreditRule = Callable[[CreditBatch, CreditConfig], torch.Tensor]

RULES = {
    "grpo": "igsearch.credit.grpo:advantages",
    "cw_grpo": "igsearch.credit.cw_grpo:advantages",
    "stepsearch_reward": "igsearch.credit.stepsearch_reward:advantages",
    "gigpo": "igsearch.credit.gigpo:advantages",
    "reinforce": "igsearch.credit.reinforce:advantages",
    "rloo": "igsearch.credit.rloo:advantages",
    "ig_search": "igsearch.credit.ig_search:advantages",
    "igpo": "igsearch.credit.igpo:advantages",
    "mr_search": "igsearch.credit.mr_search:advantages",
}


def resolve(name: str) -> "CreditRule":
    """The credit rule of that name, or the one at `package.module:function`; UserError where there is none."""
    if ":" not in name and name not in RULES:
        raise UserError(f"unknown credit rule {name!r} {nearest(name, RULES)}, or write package.module:function")
    module_name, _, function = RULES.get(name, name).partition(":")
    look_in_working_folder()
    try:
        module = import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(f"credit rule {name!r}: cannot import module {module_name!r} ({error})") from error
    rule = getattr(module, function, None)
    if not callable(rule):
        choices = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(
            f"credit rule {name!r}: {module_name} has no function {function!r} {nearest(function, choices)}"
        )
    return rule
