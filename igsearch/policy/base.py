"""What the rest of the project knows of a policy: sessions that decode, log-probabilities. Token ids in, ids out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from igsearch.policy.pieces import Pieces


@dataclass(frozen=True)
class Policy:
    """A causal language model with its tokenizer (Hugging Face objects)."""

    model: Any
    tokenizer: Any
    name: str

    @cached_property
    def pieces(self) -> Pieces:
        """The bytes behind each token id."""
        return Pieces(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        """Ids of untrusted text: no special tokens are added and none can arise from the text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the policy wrote in one turn, with the log-probability of each token under the untempered distribution."""

    ids: list[int]
    logprobs: list[float]


StopRule = Callable[[int, int], bool]
"""`stop(row, token_id)` is called for each sampled token in order; True ends that row's turn with this token kept."""


class Session(Protocol):
    """A batch of growing contexts. Rows are numbered from 0 and keep their number when others leave."""

    def generate(
        self,
        rows: Sequence[int],
        stop: StopRule,
        max_new_tokens: Sequence[int],
        seeds: Sequence[int] | None,
        temperature: float,
    ) -> list[Sampled]:
        """One turn for each of `rows`. EOS ends a turn and is kept. `seeds` (one a row) sample; None is greedy."""
        ...

    def append(self, rows: Sequence[int], ids: Sequence[Sequence[int]]) -> None:
        """Append the environment's tokens to rows."""
        ...

    def drop(self, rows: Sequence[int]) -> None:
        """Rows that are finished leave the batch."""
        ...
