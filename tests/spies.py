"""Real parts that remember what they were asked."""

import torch

from igsearch.policy.base import Policy
from igsearch.policy.scorer import Rows, Scorer


class SpyScorer(Scorer):
    """The scorer, remembering the rows it was asked for, in order."""

    def __init__(self, pass_tokens: int = 200) -> None:
        super().__init__(pass_tokens)
        self.rows: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __call__(self, policy: Policy, contexts: Rows, continuations: Rows) -> list[torch.Tensor]:
        self.rows += [(tuple(c), tuple(a)) for c, a in zip(contexts, continuations, strict=True)]
        return super().__call__(policy, contexts, continuations)

    def texts(self, policy: Policy) -> list[str]:
        """The contexts it was asked for, without white space."""
        return ["".join(policy.pieces.text(context).split()) for context, _ in self.rows]
