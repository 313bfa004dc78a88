"""How likely a policy finds a gold answer in a context: the measurement under information gain and belief.

    s(C) = sum_m w_m * log p(a_m | C, a_<m) / sum_m w_m

Source: IG-Search (arXiv 2604.15148), whose released scorer lets the first tokens of the answer weigh more; with equal
weights it is the mean log-probability of IGPO (arXiv 2510.14967).
"""

from collections.abc import Sequence

import torch

from igsearch.policy.base import Policy
from igsearch.policy.scorer import Scorer

Ids = tuple[int, ...]


def weighted_mean(logprobs: torch.Tensor, head_tokens: int, head_weight: float) -> float:
    """Mean of an answer's token log-probabilities [M], the first `head_tokens` weighing more; 0 where M = 0."""
    weights = torch.ones(len(logprobs), dtype=torch.float64)
    weights[:head_tokens] = head_weight
    return float((weights * logprobs.double().cpu()).sum() / weights.sum()) if len(logprobs) else 0.0


class Likelihood:
    """Scores (context, answer) rows in nats per (weighted) answer token, each distinct row once.

    A context keeps its last `max_context` tokens (None: all).
    """

    def __init__(
        self,
        policy: Policy,
        scorer: Scorer,
        max_context: int | None,
        head_tokens: int = 0,
        head_weight: float = 1.0,
    ) -> None:
        self._policy, self._scorer, self._max_context = policy, scorer, max_context
        self._head = head_tokens, head_weight
        self._known: dict[tuple[Ids, Ids], float] = {}

    def __call__(self, rows: Sequence[tuple[Ids, Ids]]) -> list[float]:
        """s of each row. What is asked for together is scored together, and what begins alike is read once."""
        cut = [(context[-(self._max_context or len(context)) :], answer) for context, answer in rows]
        missing = [row for row in dict.fromkeys(cut) if row not in self._known]
        contexts, answers = [row[0] for row in missing], [row[1] for row in missing]
        for row, logprobs in zip(missing, self._scorer(self._policy, contexts, answers), strict=True):
            self._known[row] = weighted_mean(logprobs, *self._head)
        return [self._known[row] for row in cut]
