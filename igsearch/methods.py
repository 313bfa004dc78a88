"""The training methods: what each consists of, as typed settings, and the row of each in params.yaml.

A method is an outcome reward, a credit rule of credit/, and the step signals that the rule needs. docs/methods/ has a
page on each.
"""

from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)


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

    counterfactual: Literal["pool", "empty", "none"] = Field(
        "pool", description="what the real context is compared with: other pairs, no documents at all, or nothing"
    )
    draws: PositiveInt = Field(3, description="N, the number of counterfactual pairs")
    head_tokens: NonNegativeInt = 3
    head_weight: PositiveFloat = 3.0
    pool_scope: Literal["other_uid", "other_pair", "sibling"] = Field(
        "other_uid", description="pairs of other questions, any other pair, or those of the group's other rollouts"
    )
    refine: bool = Field(
        True, description="the step's refine block is part of its pair; False leaves it out everywhere"
    )
    scorer: Literal["policy", "start"] = Field("policy", description="whose log-probabilities; start: never trained")
    share_draws: bool = Field(False, description="rollouts of a group share the draws at each search index")
    score_solved_groups: bool = Field(True, description="score groups in which every rollout is right")
    contexts: Literal["ids", "text"] = Field(
        "ids", description="slices of the rollout's ids, or the released text form"
    )
    answer_space: Literal["natural", "authors"] = "natural"
    max_gold_variants: PositiveInt | None = Field(1, description="how many gold aliases are tried; None for all")
    min_document_chars: PositiveInt = 10
    standard_error: PositiveFloat | None = Field(
        None, description="a step draws no more once that of the mean is so small (nats); None: N draws for every step"
    )
    max_context: PositiveInt = 4096
    pass_tokens: PositiveInt = Field(2048, description="padded tokens that a forward pass of the scorer reads")

    @model_validator(mode="after")
    def _shared_pairs_come_from_other_questions(self) -> Self:
        if self.share_draws and self.pool_scope != "other_uid":
            raise ValueError(f"draws that a group shares come from other questions, not from {self.pool_scope}")
        return self


class IgpoConfig(Frozen):
    """The turn rewards of IGPO (docs/methods/igpo.md)."""

    difference: Literal["log_probability", "probability"] = Field(
        "log_probability", description="what a turn's reward is the difference of"
    )
    normalise: Literal["separate", "joint"] = Field(
        "separate", description="z-scores of turn and outcome rewards apart, or of both together"
    )
    gamma: float = Field(1.0, ge=0, le=1)
    format_penalty: NonNegativeFloat = Field(
        2.0, description="the outcome of a rollout without an answer is minus this"
    )
    max_context: PositiveInt | None = Field(
        None, description="tokens of the longest context that is scored; None for any length"
    )
    pass_tokens: PositiveInt = Field(2048, description="padded tokens that a forward pass of the scorer reads")


class MrSearchConfig(Frozen):
    """How the rewards of a rollout's attempts become advantages (docs/methods/mr_search.md)."""

    gamma: float = Field(1.0, ge=0, le=1, description="weight of the next attempt's reward in this attempt's advantage")
    exploration_attempts: NonNegativeInt = Field(0, description="first attempts whose own reward does not count")


class GigpoConfig(Frozen):
    """How rollouts and turns are compared (docs/methods/gigpo.md)."""

    gamma: float = Field(0.95, ge=0, le=1, description="discount of the outcome reward per turn before the last")
    omega: NonNegativeFloat = Field(1.0, description="weight of the advantage within a state")
    similarity: float | None = Field(
        0.9, gt=0, le=1, description="ratio from which two states are the same; None for equal texts only"
    )
    statistics_over_turns: bool = Field(True, description="a rollout counts once per turn; False: once")
    invalid_penalty: NonNegativeFloat = Field(0.01, description="for a turn without a complete search or answer")


class CwGrpoConfig(Frozen):
    """How a success is shared out over the search rounds (docs/methods/cw_grpo.md)."""

    gamma: PositiveFloat | None = Field(
        None, description="softmax temperature of the contributions; None for infinite: shares of their sum"
    )


class StepSearchRewardConfig(Frozen):
    """How step rewards are added to GRPO's advantage (docs/methods/stepsearch_reward.md)."""

    weight: NonNegativeFloat = 0.6
    decay: float = Field(
        1.0, ge=0, le=1, description="per token before the search's closing tag; 0 rewards that token alone"
    )


class FormatConfig(Frozen):
    """The weights of Search-R1's reward for answer and format (docs/methods/search_r1_format.md)."""

    structure: float = Field(0.2, ge=0, le=1, description="for a valid response, and what a right answer loses without")
    final: float = Field(0.1, ge=0, le=1, description="for a wrong answer in an invalid response")
    retrieval: float = Field(0.0, ge=0, le=1, description="more for a valid one whose documents hold a gold answer")
    think_first: bool = Field(False, description="a valid response begins with a think block")
    note_after_documents: bool = Field(
        True, description="a think or refine block follows the documents of every search of a valid response"
    )


class FineTuneConfig(Frozen):
    """Supervised training in place of reinforcement learning (docs/methods/sft.md and rejection_sampling.md)."""

    targets: Literal["gold_answers", "correct_rollouts"]
    questions: PositiveInt | None = Field(
        None,
        description="training questions; None for all, or for as many as the rollouts of reinforcement learning "
        "(train.steps x prompts_per_step x group_size) allow",
    )
    samples: PositiveInt = Field(5, description="rollouts per question, of which the correct ones are learnt")
    epochs: PositiveInt = 3
    learning_rate: PositiveFloat | None = Field(None, description="None for train.learning_rate")
    batch_size: PositiveInt = 32


Inference = Literal["agent", "cot", "direct", "ircot", "rag", "search_o1"]
"""The ways of answering (docs/methods/inference.md)."""

RewardKind = Literal["em", "f1", "set_f1", "autorefine", "search_r1_format"]


StepRewardKind = Literal["evidence", "stepsearch"]


class CreditConfig(Frozen):
    """One training method: the outcome reward, the rule in credit/ and its settings. See docs/methods/."""

    fine_tune: FineTuneConfig | None = Field(None, description="supervised training; the rule and its settings rest")
    inference: Inference = Field("agent", description="how the trained policy answers")
    rule: str = "grpo"
    reward: RewardKind = "em"
    group_size: PositiveInt | None = Field(
        None, description="rollouts per question, at the same number of rollouts per step; None for train.group_size"
    )
    attempts: PositiveInt | None = Field(
        None, description="attempts in one response, in training and evaluation; None for rollout.attempts"
    )
    attempt_turns: PositiveInt | None = Field(None, description="turns of an attempt; None for rollout.attempt_turns")
    mr_search: MrSearchConfig | None = None
    normalise_std: bool = Field(True, description="divide the group-centred reward by its standard deviation")
    alpha: NonNegativeFloat = 0.0
    alpha_decay: Literal["none", "linear"] = Field("none", description="linear: alpha falls to 0 over train.steps")
    information_gain: InformationGainConfig | None = None
    stabiliser: StabiliserConfig = StabiliserConfig()
    length_norm: bool = Field(True, description="divide the bonus by the number of query tokens")
    centre: Literal["none", "group_step"] = Field("none", description="subtract the group's mean at the search index")
    scale: Literal["none", "batch_std", "group_step_std"] = Field(
        "none",
        description="divide by the standard deviation of raw IG, of the batch or of the group at the search index",
    )
    novelty_gate: bool = Field(False, description="IG counts as 0 where a search brought no new passage")
    route: Literal["query", "query_and_think"] = Field("query", description="the tokens of a turn that get the bonus")
    bonus_groups: Literal["all", "uniform"] = Field("all", description="uniform: only groups of equal rewards get it")
    permuted: bool = Field(False, description="control: the bonuses of scored steps change places at random")
    igpo: IgpoConfig | None = None
    gigpo: GigpoConfig | None = None
    step_reward: StepRewardKind | None = Field(None, description="what each search step is rewarded for, if anything")
    cw_grpo: CwGrpoConfig | None = None
    stepsearch_reward: StepSearchRewardConfig | None = None
    search_r1_format: FormatConfig | None = None


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

_SUPERVISED = "none"
"""The rule of a method without reinforcement learning."""

METHODS: dict[str, CreditConfig] = {
    "grpo": CreditConfig(),
    "autorefine": CreditConfig(reward="autorefine"),
    "search_r1_format": CreditConfig(reward="search_r1_format", search_r1_format=FormatConfig()),
    "reinforce": CreditConfig(rule="reinforce", group_size=1),
    "rloo": CreditConfig(rule="rloo"),
    "gigpo": CreditConfig(rule="gigpo", gigpo=GigpoConfig()),
    "stepsearch_reward": CreditConfig(
        rule="stepsearch_reward", reward="f1", step_reward="stepsearch", stepsearch_reward=StepSearchRewardConfig()
    ),
    "cw_grpo": CreditConfig(rule="cw_grpo", step_reward="evidence", cw_grpo=CwGrpoConfig()),
    "ig_search": CreditConfig(rule="ig_search", alpha=0.3, information_gain=InformationGainConfig()),
    "ig_search_shared": _SHARED,
    "mr_search": CreditConfig(rule="mr_search", attempts=3, mr_search=MrSearchConfig()),
    "igpo": CreditConfig(rule="igpo", reward="set_f1", igpo=IgpoConfig()),
    "sft": CreditConfig(rule=_SUPERVISED, inference="direct", fine_tune=FineTuneConfig(targets="gold_answers")),
    "rejection_sampling": CreditConfig(rule=_SUPERVISED, fine_tune=FineTuneConfig(targets="correct_rollouts")),
}
