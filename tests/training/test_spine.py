"""The spine from end to end: a real policy samples, searches, is scored and improved."""

from copy import deepcopy

import batches
import pytest
import scripted
import torch

from igsearch.config import Config
from igsearch.methods import CreditConfig
from igsearch.policy.base import Policy
from igsearch.training.step import train_step

METHODS = Config().methods
CONFIG = Config.model_validate(
    {
        "rollout": {"max_searches": 2, "max_turn_tokens": 8, "max_response_tokens": 60},
        "train": {"group_size": 4, "beta": 0.01, "mini_batches": 2},
    }
)


def run(taught: Policy, method: CreditConfig, seed: int = 1) -> tuple[Policy, dict[str, float]]:
    policy = Policy(deepcopy(taught.model), taught.tokenizer, "tiny")
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    shelf = scripted.Shelf(**batches.PASSAGES)
    questions = list(batches.QUESTIONS.values())
    figures = train_step(policy, taught.model, optimizer, shelf, questions, CONFIG, method, (seed, "train", 0))
    return policy, figures


def weights(policy: Policy) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in policy.model.parameters()])


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.fine_tune is None])
def test_a_step_moves_the_policy_and_is_reproducible(taught: Policy, name: str) -> None:
    one, figures = run(taught, METHODS[name])
    other, again = run(taught, METHODS[name])
    assert torch.isfinite(weights(one)).all()
    assert not torch.equal(weights(one), weights(taught))
    assert torch.equal(weights(one), weights(other))
    assert figures == again
    assert (figures.get("ig/steps", 0) > 0) == (METHODS[name].information_gain is not None)


def test_information_gain_changes_the_step(taught: Policy) -> None:
    assert not torch.equal(weights(run(taught, METHODS["ig_search"])[0]), weights(run(taught, METHODS["grpo"])[0]))


def test_another_seed_is_another_step(taught: Policy) -> None:
    assert not torch.equal(weights(run(taught, METHODS["grpo"], 1)[0]), weights(run(taught, METHODS["grpo"], 2)[0]))


def test_alpha_zero_steps_exactly_like_grpo(taught: Policy) -> None:
    silent = METHODS["ig_search"].model_copy(update={"alpha": 0.0})
    assert torch.equal(weights(run(taught, silent)[0]), weights(run(taught, METHODS["grpo"])[0]))
