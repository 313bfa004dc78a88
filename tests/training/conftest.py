"""A tiny policy that has seen a few scripted episodes, so that its rollouts search, answer, and sometimes are right."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batches
import pytest
import scripted
import torch
from training_runs import QUESTIONS, Train, Trained, settings

from igsearch.config import PolicyConfig
from igsearch.policy import tiny
from igsearch.policy.base import Policy
from igsearch.training import trainer
from igsearch.training.batch import token_batch
from igsearch.training.metrics import Metrics
from igsearch.training.step import logprobs_of


@pytest.fixture(scope="session")
def taught() -> Policy:
    """Supervised for a moment on the scripted episodes, documents masked."""
    policy = tiny.build(scripted.WORDS, scripted.STEMS, scripted.SUFFIXES, PolicyConfig(hidden=32, intermediate=32))
    batch = token_batch(batches.episodes(policy), policy.tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = -(logprobs_of(policy.model, batch) * batch.loss_mask_BL).sum() / batch.loss_mask_BL.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy


@pytest.fixture
def fresh(taught: Policy) -> Callable[[], Policy]:
    """A copy of the taught policy at each call."""
    return lambda: Policy(copy.deepcopy(taught.model), taught.tokenizer, "tiny")


@pytest.fixture
def train(fresh: Callable[[], Policy], tmp_path: Path) -> Train:
    """Train a fresh policy in `tmp_path / work`; a run with `stop_at` is killed while it logs that step."""

    def run(
        method: str = "ig_search",
        work: str = "work",
        seed: int = 0,
        resume: bool = False,
        verify_oracle: bool = False,
        stop_at: int | None = None,
        policy: Policy | None = None,
        **changes: Any,
    ) -> Trained:
        trained = Trained(policy or fresh(), tmp_path / work)

        def log(step: int, metrics: Metrics) -> None:
            trained.logged.append((step, metrics))
            if step == stop_at:
                raise KeyboardInterrupt

        trainer.train(
            trained.policy,
            scripted.Shelf(**batches.PASSAGES),
            QUESTIONS,
            QUESTIONS,
            settings(**changes),
            method,
            seed,
            trained.work,
            log,
            resume,
            verify_oracle,
        )
        return trained

    return run
