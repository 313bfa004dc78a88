"""How far the policy has moved from where its training began, for runs whose loss has no KL term (TRL logs none then).

    k3 = exp(log p_start - log p) - (log p_start - log p) - 1,   summed over the trained tokens

Source: the estimate of GRPO's KL (arXiv 2402.03300). The tokens were sampled from p, and log p was noted then: only the
start policy reads them again. Both at temperature 1. Deviation: where a batch of rollouts is trained on in several
updates, this is the distance before the first; TRL's figure is the mean over all of them.
"""

from collections.abc import Sequence

import torch

from igsearch.policy.base import Policy
from igsearch.policy.score import score
from igsearch.records import EndReason, Episode


def drift(start: Policy, episodes: Sequence[Episode], batch_size: int) -> tuple[float, int]:
    """Sum of k3 (nats) over the trained tokens of `episodes`, and how many these are."""
    trained = [episode for episode in episodes if episode.end is not EndReason.RETRIEVER_FAILED]
    prompts, responses = [each.prompt_ids for each in trained], [each.response_ids for each in trained]
    total, count = 0.0, 0
    for episode, start_L in zip(trained, score(start, prompts, responses, batch_size), strict=True):
        distance_L = start_L.double() - torch.tensor(episode.logprobs, dtype=torch.float64)
        total += float((torch.expm1(distance_L) - distance_L)[torch.tensor(episode.sampled, dtype=torch.bool)].sum())
        count += episode.sampled_tokens
    return total, count
