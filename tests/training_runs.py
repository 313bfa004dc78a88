"""A training run on a shelf of four passages, as tests ask for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import batches
import torch

from igsearch.config import Config, build, load
from igsearch.policy.base import Policy
from igsearch.records import Question
from igsearch.training.metrics import History, Metrics

METHODS = load("ablation").resolved()["methods"]
ROLLOUT = {"max_searches": 2, "max_turn_tokens": 12, "max_observation_tokens": 24, "max_response_tokens": 60}
QUESTIONS = [*batches.QUESTIONS.values(), Question("other", "popqa", "where was melvik born", ("meldon",), hops=2)]


@dataclass
class Trained:
    """What came out of a run: the policy, the metrics that were logged, and the folder."""

    policy: Policy
    work: Path
    logged: list[tuple[int, Metrics]] = field(default_factory=list)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.policy.model.state_dict().items()}

    def measured(self) -> list[tuple[int, Metrics]]:
        """The history on disk without the figures of the machine, which no two runs share."""
        lines = History(self.work / "metrics.jsonl").read()
        machine = ("seconds/", "retrieval/", "scorer/largest_difference")
        return [(step, {k: v for k, v in line.items() if not k.startswith(machine)}) for step, line in lines]


Train = Callable[..., Trained]


def assert_the_same(run: Trained, other: Trained) -> None:
    """Every weight bit for bit, and every figure of the history."""
    assert run.weights.keys() == other.weights.keys()
    for name, value in run.weights.items():
        assert torch.equal(other.weights[name], value), name
    assert run.measured() == other.measured()


def settings(**train: Any) -> Config:
    """Four questions by two rollouts, three steps, no validation; the methods and presets of the profile ablation."""
    base = {"steps": 3, "prompts_per_step": 4, "group_size": 2, "learning_rate": 1e-3, "validation_questions": 0}
    return build({"rollout": ROLLOUT, "train": {**base, **train}, "methods": METHODS})
