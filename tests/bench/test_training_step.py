"""What bench/training_step.py compares is the same: never its time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_step

from igsearch.policy.load import save_policy

TINY = training_step.Shape(16, 1, 2, 16, 40, 4, 4, 1, (3, 6), (2, 5), (2, 4), (1, 3), micro_batch=8)


def held_equal(inputs: training_step.Given) -> training_step.Trained:
    """Ours, after it was held against stock TRL."""
    mine, theirs = training_step.ours(inputs), training_step.stock(inputs)
    found = training_step.differences(mine, theirs)
    assert found["loss"] < 1e-6
    assert found["gradient norm"] < 1e-5
    assert found["weight"] < 1e-4
    return mine


def test_our_step_is_that_of_stock_trl() -> None:
    inputs = training_step.given(TINY)
    mine = held_equal(inputs)
    assert len(mine.losses) == training_step.STEPS + 1
    assert min(mine.norms) > 1e-3  # there was something to learn


@pytest.mark.parametrize(
    "train",
    [
        {"loss": "bnpo"},
        {"loss": "grpo"},
        {"mini_batches": 2, "micro_batch": 4, "epsilon": 0.02, "learning_rate": 2e-3},
        {"mini_batches": 2, "micro_batch": 4, "loss": "grpo", "learning_rate": 2e-3},
        {"gradient_checkpointing": True},
        {"beta": 0.1, "mini_batches": 2},
    ],
    ids=str,
)
def test_so_it_is_with_other_settings(train: dict[str, Any], tmp_path: Path) -> None:
    inputs = training_step.given(TINY)
    save_policy(inputs.policy, tmp_path)
    inputs.policy.model.config._name_or_path = str(tmp_path)  # from where TRL loads the reference of the KL term
    settings = inputs.config.train.model_copy(update=train)
    mine = held_equal(replace(inputs, config=inputs.config.model_copy(update={"train": settings})))
    assert min(mine.norms) > 1e-3


def test_so_it_is_at_another_temperature() -> None:
    inputs = training_step.given(TINY)
    settings = inputs.config.rollout.model_copy(update={"temperature": 0.6})
    held_equal(replace(inputs, config=inputs.config.model_copy(update={"rollout": settings})))


def test_a_batch_without_any_advantage_trains_nothing_in_either() -> None:
    inputs = training_step.given(replace(TINY, uniform=TINY.questions))
    mine = held_equal(inputs)
    assert max(map(abs, mine.losses)) == max(mine.norms) == 0.0
    for name, value in inputs.policy.model.state_dict().items():
        assert torch.equal(mine.policy.model.state_dict()[name], value), name


def test_rollouts_have_the_stated_share_without_advantage() -> None:
    episodes = training_step.rollouts(training_step.EMBEDDED, 100)
    right = [[each.prediction == "right" for each in episodes[start : start + 8]] for start in range(0, 96, 8)]
    assert sum(len(set(group)) == 1 for group in right) == training_step.EMBEDDED.uniform
    assert all(len(each.response_ids) == len(each.sampled) == len(each.logprobs) for each in episodes)
    assert all(not each.sampled[turn.start - 1] for each in episodes for turn in each.turns[1:])
