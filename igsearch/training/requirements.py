"""What a method needs of settings and data, checked before any training."""

from collections.abc import Sequence

from igsearch.config import Config
from igsearch.errors import UserError
from igsearch.records import Question

GROUPS_OF_ONE = ("reinforce",)
"""The rules that do not compare the rollouts of one question."""


def check(config: Config, name: str, questions: Sequence[Question]) -> None:
    """UserError where method `name` cannot be trained with these settings on these questions.

    A rule from outside the tree is its author's responsibility.
    """
    method = config.method(name)
    if ":" in method.rule:
        return
    if config.train.group_size < 2 and method.rule not in GROUPS_OF_ONE:
        raise UserError(
            f"method {name} compares the rollouts of one question, so its group size must be at least 2 "
            f"(train.group_size is {config.train.group_size})"
        )
    settings = {"ig_search": "information_gain"}.get(method.rule, method.rule)
    if settings in type(method).model_fields and getattr(method, settings) is None:
        raise UserError(
            f"method {name}: the rule {method.rule} needs methods.{name}.{settings}; set it to {{}} for its defaults"
        )
    if method.reward == "search_r1_format" and config.rollout.attempts > 1:
        raise UserError(
            f"method {name}: the reward search_r1_format judges a response with one attempt, and here it has "
            f"{config.rollout.attempts}; choose another methods.{name}.reward"
        )
