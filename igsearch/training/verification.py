"""The trainer held against the spine while it trains: the same rollouts, the loss and gradient of training/step.py."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from igsearch.config import Config
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.training.batch import token_batch
from igsearch.training.step import logprobs_of, loss_of


class Oracle:
    """Follows the forward passes of each update and says by how much loss and gradient differ.

    The gradient matters: where the policy has not moved since it sampled, the value of the loss does not depend on its
    log-probabilities at all. One process only. Costs about as much as the update itself.
    """

    def __init__(self, policy: Policy, config: Config) -> None:
        self._policy, self._config = policy, config
        self._gradient: list[torch.Tensor] = []
        self._loss_difference = 0.0

    def begin(self, episodes: Sequence[Episode], advantage_BL: torch.Tensor, reference: Any) -> None:
        """A new batch of rollouts, with its token advantages and the model of the KL term (None: no KL)."""
        model, train = self._policy.model, self._config.train
        pad_id = self._policy.tokenizer.pad_token_id or 0
        temperature = self._config.rollout.temperature
        self._batch = token_batch(episodes, pad_id, train.mini_batches, temperature, model.device)
        self._advantage_BL = advantage_BL.to(model.device)
        self._reference_BL = None if reference is None else self._frozen_logprobs(reference)
        if train.mini_batches > 1:
            self._batch = replace(self._batch, old_logprobs_BL=self._frozen_logprobs(model))

    @torch.no_grad()
    def _frozen_logprobs(self, model: Any) -> torch.Tensor:
        step = self._config.train.micro_batch or len(self._batch)
        parts = [self._batch.rows(slice(i, i + step)) for i in range(0, len(self._batch), step)]
        return torch.cat([logprobs_of(model, part) for part in parts])

    def follow(self, rows: torch.Tensor, passes: int) -> float:
        """One forward pass, on these rows of the batch, of an update made of `passes`: the loss that it should have."""
        train, model = self._config.train, self._policy.model
        reference_bL = None if self._reference_BL is None else self._reference_BL[rows]
        expected = loss_of(model, reference_bL, self._batch.rows(rows), self._advantage_BL[rows], train)
        expected = expected if train.loss == "dapo" else expected / passes
        gradient = torch.autograd.grad(expected, self._parameters())
        before = self._gradient or [torch.zeros_like(part) for part in gradient]
        self._gradient = [a + b for a, b in zip(before, gradient, strict=True)]
        return float(expected.detach())

    def compare(self, expected: float, loss: torch.Tensor) -> None:
        """Note how far the trainer's loss of a forward pass is from the expected one."""
        self._loss_difference = max(self._loss_difference, abs(expected - float(loss.detach())))

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self._policy.model.parameters() if parameter.requires_grad]

    def close_update(self) -> dict[str, float]:
        """Compare with the clipped gradient that the optimiser is about to use, as a share of its norm."""
        norm = torch.stack([part.norm() for part in self._gradient]).norm()
        clip = (self._config.train.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        pairs = zip(self._gradient, self._parameters(), strict=True)
        difference = torch.stack([(mine * clip - other.grad).norm() for mine, other in pairs if other.grad is not None])
        relative = float(difference.norm() / (norm * clip).clamp(min=1e-12))
        metrics = {"oracle/loss_difference": self._loss_difference, "oracle/gradient_difference": relative}
        self._gradient, self._loss_difference = [], 0.0
        return metrics
