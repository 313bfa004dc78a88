"""The training methods: what each consists of, as typed settings, and the row of each in params.yaml.

A method is an outcome reward, a credit rule of credit/, and the step signals that the rule needs. docs/methods/ has a
page on each.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class Frozen(BaseModel):
    """Immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StabiliserConfig(Frozen):
    """The three stages of docs/methods/ig_search.md; None switches a stage off."""

    dead_zone: NonNegativeFloat | None = 0.1
    negative_scale: NonNegativeFloat | None = 0.5
    bound: PositiveFloat | None = 3.0


class InformationGainConfig(Frozen):
    """How the information gain of a search step is measured (docs/methods/ig_search.md)."""

    draws: PositiveInt = Field(3, description="N, the number of counterfactual pairs")
    head_tokens: NonNegativeInt = 3
    head_weight: PositiveFloat = 3.0
    pool_scope: Literal["other_uid", "other_pair"] = "other_uid"
    share_draws: bool = Field(False, description="rollouts of a group share the draws at each search index")
    score_solved_groups: bool = Field(True, description="score groups in which every rollout is right")
    contexts: Literal["ids", "text"] = Field(
        "ids", description="slices of the rollout's ids, or the released text form"
    )
    answer_space: Literal["natural", "authors"] = "natural"
    max_gold_variants: PositiveInt = 1
    min_document_chars: PositiveInt = 10
    max_context: PositiveInt = 4096
    batch_size: PositiveInt = 64


RewardKind = Literal["em", "f1", "autorefine"]


class CreditConfig(Frozen):
    """One training method: the outcome reward, the rule in credit/ and its settings. See docs/methods/."""

    rule: str = "grpo"
    reward: RewardKind = "em"
    group_size: PositiveInt | None = Field(
        None, description="rollouts per question, at the same number of rollouts per step; None for train.group_size"
    )
    normalise_std: bool = Field(True, description="divide the group-centred reward by its standard deviation")
    alpha: NonNegativeFloat = 0.0
    information_gain: InformationGainConfig | None = None
    stabiliser: StabiliserConfig = StabiliserConfig()
    length_norm: bool = Field(True, description="divide the bonus by the number of query tokens")
    centre: Literal["none", "group_step"] = Field("none", description="subtract the group's mean at the search index")
    scale: Literal["none", "batch_std"] = Field(
        "none", description="divide by the batch's standard deviation of raw IG"
    )
    novelty_gate: bool = Field(False, description="IG counts as 0 where a search brought no new passage")


_SHARED = CreditConfig(
    rule="ig_search",
    alpha=0.5,
    information_gain=InformationGainConfig(
        draws=1, head_tokens=0, head_weight=1.0, share_draws=True, score_solved_groups=False
    ),
    stabiliser=StabiliserConfig(dead_zone=None, negative_scale=None, bound=3.0),
    length_norm=False,
    centre="group_step",
    scale="batch_std",
    novelty_gate=True,
)

METHODS: dict[str, CreditConfig] = {
    "grpo": CreditConfig(),
    "ig_search": CreditConfig(rule="ig_search", alpha=0.3, information_gain=InformationGainConfig()),
    "ig_search_shared": _SHARED,
}
