"""Scores are the log-probabilities of a plain forward pass and do not change with order, padding or batch size."""

import pytest
import torch

from igsearch.policy.base import Policy
from igsearch.policy.score import score

CONTEXTS = [[1, 2, 3], [4] * 40, [11], [2, 9, 2, 9, 2], [5, 6], [0, 0, 3]]
CONTINUATIONS = [[5, 6], [7], [8, 9, 10, 11, 12, 1, 2], [0, 3], [], [4, 4, 4]]


@torch.inference_mode()
def plain(policy: Policy, context: list[int], continuation: list[int]) -> torch.Tensor:
    logits = policy.model(input_ids=torch.tensor([context + continuation])).logits[0].log_softmax(-1)
    return torch.tensor([float(logits[len(context) - 1 + m, token]) for m, token in enumerate(continuation)])


def test_scores_are_those_of_a_plain_forward_pass(policy: Policy) -> None:
    scored = score(policy, CONTEXTS, CONTINUATIONS, 4)
    for context, continuation, logprobs in zip(CONTEXTS, CONTINUATIONS, scored, strict=True):
        assert logprobs.shape == (len(continuation),)
        assert torch.allclose(logprobs, plain(policy, context, continuation), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batch_size_and_padding_leave_scores_unchanged(policy: Policy, batch_size: int) -> None:
    expected = score(policy, CONTEXTS, CONTINUATIONS, 3)
    for one, other in zip(expected, score(policy, CONTEXTS, CONTINUATIONS, batch_size), strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-6)


def test_order_leaves_scores_unchanged(policy: Policy) -> None:
    expected = score(policy, CONTEXTS, CONTINUATIONS, 3)
    order = [3, 5, 0, 4, 2, 1]
    scored = score(policy, [CONTEXTS[i] for i in order], [CONTINUATIONS[i] for i in order], 3)
    for i, logprobs in zip(order, scored, strict=True):
        assert torch.allclose(logprobs, expected[i], atol=1e-6, rtol=1e-6)


def test_the_padding_id_inside_a_text_is_read_as_text(policy: Policy) -> None:
    pad = policy.tokenizer.pad_token_id
    context, continuation = [1, pad, pad, 2], [pad, 3]
    scored = score(policy, [context, [1] * 9], [continuation, [2]], 2)[0]
    assert torch.allclose(scored, plain(policy, context, continuation), atol=1e-5)


def test_scoring_is_in_evaluation_mode_without_gradient_and_leaves_the_mode(policy: Policy) -> None:
    policy.model.train()
    try:
        assert not score(policy, [[1]], [[2]], 1)[0].requires_grad
        assert policy.model.training
    finally:
        policy.model.eval()


def test_nothing_to_score_and_empty_contexts(policy: Policy) -> None:
    assert score(policy, [], [], 4) == []
    with pytest.raises(ValueError, match="at least one token"):
        score(policy, [[]], [[1]], 4)


def test_scores_are_ordinary_tensors_that_may_enter_a_loss(policy: Policy) -> None:
    weight = torch.ones(2, requires_grad=True)
    (score(policy, [[1]], [[2, 3]], 1)[0] * weight).sum().backward()
    assert weight.grad is not None
