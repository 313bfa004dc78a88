"""The KL from the start policy, which is logged also where it is no part of the loss."""

import copy

import batches
import pytest
import scripted
import torch
from training_runs import Train

from igsearch.policy.base import Policy
from igsearch.policy.score import score
from igsearch.records import EndReason, Episode
from igsearch.training import trainer
from igsearch.training.drift import drift


@pytest.fixture(scope="module")
def policy() -> Policy:
    return batches.sharpen(scripted.tiny_policy())


@pytest.fixture
def sampled(policy: Policy) -> list[Episode]:
    """The scripted episodes, as if the policy had sampled them."""
    episodes = batches.episodes(policy)
    prompts, responses = [e.prompt_ids for e in episodes], [e.response_ids for e in episodes]
    for episode, logprobs in zip(episodes, score(policy, prompts, responses, 8), strict=True):
        episode.logprobs = logprobs.tolist()
    return episodes


def test_the_policy_is_at_no_distance_from_itself(policy: Policy, sampled: list[Episode]) -> None:
    total, count = drift(policy, sampled, 3)
    assert count == sum(episode.sampled_tokens for episode in sampled)
    assert total == pytest.approx(0, abs=1e-9)


def test_k3_is_summed_over_the_sampled_tokens(policy: Policy, sampled: list[Episode]) -> None:
    other = batches.sharpen(Policy(copy.deepcopy(policy.model), policy.tokenizer, "other"), seed=5)
    start_L = score(other, [sampled[0].prompt_ids], [sampled[0].response_ids], 1)[0]
    distance_L = start_L - torch.tensor(sampled[0].logprobs)
    k3 = [d.exp() - d - 1 for d, own in zip(distance_L, sampled[0].sampled, strict=True) if own]
    total, _ = drift(other, sampled[:1], 1)
    assert total == pytest.approx(float(sum(k3)), rel=1e-4)
    assert total > 0.1


def test_rollouts_whose_retriever_failed_are_left_out(policy: Policy, sampled: list[Episode]) -> None:
    expected = drift(policy, sampled[:2], 4)
    sampled[2].end = EndReason.RETRIEVER_FAILED
    assert drift(policy, sampled[:3], 4) == pytest.approx(expected)


def test_without_a_kl_term_the_same_kl_is_logged(train: Train) -> None:
    """TRL's own figure, got with a weight too small to matter."""
    plain, weighed = train(work="plain", beta=0.0), train(work="weighed", beta=1e-12)
    kl = [metrics["policy/kl"] for _, metrics in plain.logged]
    assert kl == pytest.approx([metrics["policy/kl"] for _, metrics in weighed.logged], rel=1e-3, abs=1e-6)
    assert kl[-1] > 1e-4


def test_measuring_changes_nothing(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = train(work="measured")
    monkeypatch.setattr(trainer, "drift", lambda *_: (0.0, 1))
    unmeasured = train(work="unmeasured")
    for name, value in measured.weights.items():
        assert torch.equal(unmeasured.weights[name], value), name
