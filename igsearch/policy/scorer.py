"""The scorer of a run: shared beginnings, held against plain rows as the run goes.

All rows of the first batch are scored both ways, and of each later one a few. Where the two differ by more than
rounding, the run goes on with plain rows: a warning says so, and the metric `scorer/fallback` is 1 from then on.
"""

import warnings
from collections.abc import Sequence

import torch

from igsearch.policy.base import Policy
from igsearch.policy.score import score
from igsearch.policy.shared import score_shared
from igsearch.seeds import generator

SAMPLE = 8
"""Rows of every batch after the first that are scored both ways."""

_ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-8}  # per nat, at least; a mistake in the tree is far larger
_COARSE = 0.1  # of bfloat16 and float16

Rows = Sequence[Sequence[int]]


class Scorer:
    """Log-probabilities of continuations given contexts, for one run. `pass_tokens`: padded tokens of a forward pass.

    `first_whole` False checks but a few rows of the first batch as well, where there will be no second one. `fallback`
    begins with plain rows.
    """

    def __init__(self, pass_tokens: int, first_whole: bool = True, fallback: bool = False) -> None:
        self.pass_tokens, self.fallback = pass_tokens, fallback
        self._first_whole, self._calls, self._largest = first_whole, 0, 0.0

    def __call__(self, policy: Policy, contexts: Rows, continuations: Rows) -> list[torch.Tensor]:
        """For each pair the float32 log-probability (nats, on the CPU) of each continuation token given the context.

        ValueError for a context without a token.
        """
        if not contexts:
            return []
        if self.fallback:
            return self._plain(policy, contexts, continuations)
        shared = score_shared(policy, contexts, continuations, self.pass_tokens)
        checked = self._checked(len(contexts))
        plain = self._plain(policy, [contexts[i] for i in checked], [continuations[i] for i in checked])
        difference = max(_difference(shared[i], row) for i, row in zip(checked, plain, strict=True))
        self._largest = max(self._largest, difference)
        if difference <= _tolerance(policy):
            return shared
        self.fallback = True
        warnings.warn(
            f"scoring with shared beginnings differs by {difference:.2g} per nat from plain rows; this run goes on "
            "with plain rows, which are slower (metric scorer/fallback)",
            RuntimeWarning,
            stacklevel=2,
        )
        return self._plain(policy, contexts, continuations)

    def take(self) -> dict[str, float]:
        """The largest difference found since the last call, in nats per nat, and whether plain rows are used now."""
        largest, self._largest = self._largest, 0.0
        return {"scorer/largest_difference": largest, "scorer/fallback": float(self.fallback)}

    def _checked(self, rows: int) -> list[int]:
        self._calls += 1
        if rows <= SAMPLE or (self._first_whole and self._calls == 1):
            return list(range(rows))
        return sorted(generator("scorer", self._calls).choice(rows, SAMPLE, replace=False).tolist())

    def _plain(self, policy: Policy, contexts: Rows, continuations: Rows) -> list[torch.Tensor]:
        longest = max(len(context) + len(rest) for context, rest in zip(contexts, continuations, strict=True))
        return score(policy, contexts, continuations, max(1, self.pass_tokens // max(longest, 1)))


def _difference(one_M: torch.Tensor, plain_M: torch.Tensor) -> float:
    """The largest difference, per nat where there are more than one. Equal infinities and two NaNs do not differ."""
    same_M = (one_M == plain_M) | (one_M.isnan() & plain_M.isnan())
    apart_M = ((one_M - plain_M).abs() / plain_M.abs().clamp(min=1)).nan_to_num(torch.inf).masked_fill(same_M, 0)
    return float(apart_M.max()) if len(apart_M) else 0.0


def _tolerance(policy: Policy) -> float:
    kind = policy.model.device.type
    computed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else policy.model.dtype
    return _ROUNDING.get(computed, _COARSE)
