"""Log-probabilities of given continuations: what information gain and the importance ratio are made of."""

from collections.abc import Sequence

import torch

from igsearch.policy.base import Policy


@torch.no_grad()
def score(
    policy: Policy, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], batch_size: int
) -> list[torch.Tensor]:
    """For each pair the float32 log-probability (nats, on the CPU) of each continuation token given the context.

    In evaluation mode, without gradient. Rows of similar length share a forward pass of at most `batch_size` rows, and
    logits are computed at the continuation's positions alone: neither order nor batch size changes the result beyond
    rounding. A context must hold at least one token (ValueError); an empty continuation gives an empty tensor. Whoever
    calls cuts contexts to their limit.
    """
    if not all(contexts):
        raise ValueError("every context needs at least one token")
    lengths = [len(context) + len(rest) for context, rest in zip(contexts, continuations, strict=True)]
    order = sorted((i for i, rest in enumerate(continuations) if rest), key=lambda i: (-lengths[i], i))
    result = [torch.empty(0) for _ in contexts]
    was_training = policy.model.training
    policy.model.eval()
    try:
        for begin in range(0, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            scored = _score_batch(policy, [contexts[i] for i in rows], [continuations[i] for i in rows])
            for i, logprobs in zip(rows, scored, strict=True):
                result[i] = logprobs
    finally:
        policy.model.train(was_training)
    return result


def _score_batch(
    policy: Policy, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """One forward pass over right-padded rows. The last token is never read, since nothing follows it.

    Padding on the right needs no mask in a causal model, but the mask is given: it comes from the lengths, as the
    padding id may occur inside a text.
    """
    device = policy.model.device
    rows = [[*context, *rest][:-1] for context, rest in zip(contexts, continuations, strict=True)]
    width, depth = max(map(len, rows)), max(map(len, continuations))
    ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    targets_BM = torch.tensor([[*rest, *[0] * (depth - len(rest))] for rest in continuations], device=device)
    first_B = torch.tensor([len(context) - 1 for context in contexts], device=device)
    where_BM = (first_B[:, None] + torch.arange(depth, device=device)).clamp(max=width - 1)
    logits_BMV = policy.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, logits_to_keep=where_BM).logits
    logprobs_BM = logits_BMV.float().log_softmax(-1).gather(-1, targets_BM[..., None])[..., 0].cpu()
    return [row[: len(rest)] for row, rest in zip(logprobs_BM, continuations, strict=True)]
