"""The loss: masks, finite differences, padding, clipping, aggregation and several updates."""

from copy import deepcopy
from dataclasses import replace

import batches
import pytest
import scripted
import torch
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from igsearch.config import TrainConfig
from igsearch.credit import ig_search
from igsearch.methods import METHODS
from igsearch.policy.base import Policy
from igsearch.rewards.answer import episode_reward
from igsearch.rewards.information_gain import information_gain
from igsearch.training.batch import TokenBatch, credit_batch, token_batch
from igsearch.training.step import logprobs_of, loss_of, mini_batches, update

LOSSES = ("dapo", "bnpo", "grpo")


@pytest.fixture(scope="module")
def fixed() -> tuple[Policy, TokenBatch, torch.Tensor]:
    """A float64 policy, a ragged batch with masked documents, mixed and uniform groups, and IG-Search's advantages."""
    policy = batches.sharpen(scripted.tiny_policy())
    episodes = batches.episodes(policy)
    rewards = [episode_reward("em", episode) for episode in episodes]
    method = METHODS["ig_search_shared"]
    gains = information_gain(policy, episodes, method.information_gain, (0,), rewards)
    advantage_BL = ig_search.advantages(
        credit_batch(episodes, rewards, batches.signals(gains), dtype=torch.float64), method
    )
    policy.model.double()
    batch = token_batch(episodes, policy.tokenizer.pad_token_id)
    return policy, batch, advantage_BL


@pytest.fixture(scope="module")
def reference(fixed: tuple[Policy, TokenBatch, torch.Tensor]) -> torch.nn.Module:
    other = deepcopy(fixed[0])
    return batches.sharpen(other, seed=11).model


@pytest.fixture(params=LOSSES)
def config(request: pytest.FixtureRequest) -> TrainConfig:
    return TrainConfig(loss=request.param, beta=0.05)


def moved(batch: TokenBatch, model: torch.nn.Module) -> TokenBatch:
    """As if the policy had moved since it sampled: ratios on both sides of the clipping bounds."""
    with torch.no_grad():
        logprob_BL = logprobs_of(model, batch)
    noise_BL = torch.randn(logprob_BL.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return replace(batch, old_logprobs_BL=logprob_BL + 0.3 * noise_BL)


def parameters(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


class Probe(torch.nn.Module):
    """The model, with the gradient of its logits kept."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: torch.Tensor) -> object:
        output = self.model(**inputs)
        self.logits = output.logits
        self.logits.retain_grad()
        return output


def test_masked_tokens_have_exactly_zero_gradient(
    fixed: tuple[Policy, TokenBatch, torch.Tensor], reference: torch.nn.Module, config: TrainConfig
) -> None:
    policy, batch, advantage_BL = fixed
    probe = Probe(policy.model)
    with torch.no_grad():
        reference_BL = logprobs_of(reference, batch)
    loss_of(probe, reference_BL, moved(batch, policy.model), torch.ones_like(advantage_BL), config).backward()
    gradient_BL = probe.logits.grad[:, :-1].abs().amax(-1)
    assert bool((gradient_BL[batch.loss_mask_BL == 0] == 0).all())
    assert float((gradient_BL[batch.loss_mask_BL == 1] > 0).double().mean()) > 0.5
    policy.model.zero_grad()


def test_what_is_masked_cannot_reach_the_loss(
    fixed: tuple[Policy, TokenBatch, torch.Tensor], config: TrainConfig
) -> None:
    policy, batch, advantage_BL = fixed
    loud_BL = torch.where(batch.loss_mask_BL == 0, 1e30, advantage_BL)
    with torch.no_grad():
        assert loss_of(policy.model, None, batch, loud_BL, config) == loss_of(
            policy.model, None, batch, advantage_BL, config
        )


def exact_norm(self: Qwen2RMSNorm, hidden: torch.Tensor) -> torch.Tensor:
    """The model's normalisation without its detour through float32."""
    return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def test_gradient_agrees_with_a_finite_difference_in_float64(
    fixed: tuple[Policy, TokenBatch, torch.Tensor],
    reference: torch.nn.Module,
    config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Qwen2RMSNorm, "forward", exact_norm)
    policy, batch, advantage_BL = fixed
    model = deepcopy(policy.model)
    with torch.no_grad():
        reference_BL = logprobs_of(reference, batch)
    old = moved(batch, model)

    def loss() -> torch.Tensor:
        return loss_of(model, reference_BL, old, advantage_BL, config)

    gradients = torch.autograd.grad(loss(), parameters(model))
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(g.shape, generator=generator, dtype=torch.float64) for g in gradients]
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    step = 1e-6
    with torch.no_grad():
        ends = []
        for sign in (1, -2):
            for parameter, d in zip(parameters(model), direction, strict=True):
                parameter.add_(d, alpha=sign * step)
            ends.append(float(loss()))
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=1e-7)


def test_padding_changes_nothing(fixed: tuple[Policy, TokenBatch, torch.Tensor], config: TrainConfig) -> None:
    policy, batch, advantage_BL = fixed
    wider = {
        "prompt_BP": torch.nn.functional.pad(batch.prompt_BP, (5, 0), value=3),
        "prompt_mask_BP": torch.nn.functional.pad(batch.prompt_mask_BP, (5, 0)),
        "response_BL": torch.nn.functional.pad(batch.response_BL, (0, 4), value=7),
        "response_mask_BL": torch.nn.functional.pad(batch.response_mask_BL, (0, 4)),
        "loss_mask_BL": torch.nn.functional.pad(batch.loss_mask_BL, (0, 4)),
    }
    padded_BL = torch.nn.functional.pad(advantage_BL, (0, 4), value=9.0)
    with torch.no_grad():
        base = loss_of(policy.model, None, batch, advantage_BL, config)
        assert torch.allclose(loss_of(policy.model, None, replace(batch, **wider), padded_BL, config), base, atol=1e-10)


def test_the_first_update_has_ratio_one(fixed: tuple[Policy, TokenBatch, torch.Tensor]) -> None:
    policy, batch, advantage_BL = fixed
    with torch.no_grad():
        loss = loss_of(policy.model, None, batch, advantage_BL, TrainConfig(loss="dapo"))
    assert float(loss) == pytest.approx(-float(advantage_BL.sum() / batch.loss_mask_BL.sum()))


def test_k3_is_zero_for_the_policy_itself_and_positive_otherwise(
    fixed: tuple[Policy, TokenBatch, torch.Tensor], reference: torch.nn.Module, config: TrainConfig
) -> None:
    policy, batch, advantage_BL = fixed
    nothing_BL = torch.zeros_like(advantage_BL)
    with torch.no_grad():
        own_BL, other_BL = logprobs_of(policy.model, batch), logprobs_of(reference, batch)
        assert float(loss_of(policy.model, own_BL, batch, nothing_BL, config)) == pytest.approx(0, abs=1e-12)
        assert float(loss_of(policy.model, other_BL, batch, nothing_BL, config)) > 0


def test_a_ratio_beyond_the_bound_stops_the_push_in_that_direction_only(
    fixed: tuple[Policy, TokenBatch, torch.Tensor],
) -> None:
    policy, batch, _ = fixed
    with torch.no_grad():
        logprob_BL = logprobs_of(policy.model, batch)
    for shift, sign, expected in ((0.3, 1, 0.0), (0.3, -1, 1.0), (-0.3, 1, 1.0), (-0.3, -1, 0.0)):
        probe = Probe(policy.model)
        old = replace(batch, old_logprobs_BL=logprob_BL - shift)
        loss_of(probe, None, old, sign * torch.ones_like(logprob_BL), TrainConfig()).backward()
        assert float(probe.logits.grad.abs().sum() > 0) == expected
        policy.model.zero_grad()


def test_token_mean_over_the_batch_is_the_sum_of_its_micro_batches(
    fixed: tuple[Policy, TokenBatch, torch.Tensor],
) -> None:
    policy, batch, advantage_BL = fixed
    config = TrainConfig(loss="dapo")
    with torch.no_grad():
        whole = loss_of(policy.model, None, batch, advantage_BL, config)
        parts = [
            loss_of(policy.model, None, batch.rows(rows), advantage_BL[rows], config)
            for rows in mini_batches(len(batch), 8)
        ]
    assert float(sum(parts)) == pytest.approx(float(whole), abs=1e-12)


def test_two_updates_share_the_old_logprobs_of_the_sampling_policy(
    fixed: tuple[Policy, TokenBatch, torch.Tensor], reference: torch.nn.Module
) -> None:
    policy, batch, advantage_BL = fixed
    config = TrainConfig(mini_batches=2, beta=0.05, max_grad_norm=0.5)
    halves = replace(batch, tokens_per_update=batch.tokens_per_update / 2)
    model, by_hand = deepcopy(policy.model), deepcopy(policy.model)
    losses = update(model, reference, torch.optim.SGD(model.parameters(), 0.1), halves, advantage_BL, config)
    with torch.no_grad():
        old = replace(halves, old_logprobs_BL=logprobs_of(by_hand, halves))
        reference_BL = logprobs_of(reference, halves)
    for rows, expected in zip((slice(0, 4), slice(4, 8)), losses, strict=True):
        loss = loss_of(by_hand, reference_BL[rows], old.rows(rows), advantage_BL[rows], config)
        gradients = torch.autograd.grad(loss, parameters(by_hand))
        norm = float(torch.stack([g.norm() for g in gradients]).norm())
        with torch.no_grad():
            for parameter, gradient in zip(parameters(by_hand), gradients, strict=True):
                parameter.sub_(gradient * min(1.0, 0.5 / (norm + 1e-6)), alpha=0.1)
        assert loss.item() == pytest.approx(expected)
    for one, other in zip(parameters(model), parameters(by_hand), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_mini_batches_cover_every_row_once() -> None:
    for count in range(1, 9):
        slices = list(mini_batches(8, count))
        assert [row for rows in slices for row in range(8)[rows]] == list(range(8))
        assert max(len(range(8)[s]) for s in slices) - min(len(range(8)[s]) for s in slices) <= 1
