"""What the rest of the project knows of a policy: sessions that decode, log-probabilities. Token ids in, ids out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from igsearch.policy.pieces import Pieces

MARKUP = "<>[]{}|"
"""An added token with one of these is markup; others are runs of white space, or words."""


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

    @cached_property
    def _inert(self) -> Any:
        """The tokenizer with nothing in its vocabulary that acts: see `encode`."""
        from tokenizers import Tokenizer

        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for token in state["added_tokens"]:
            token["special"] |= any(mark in token["content"] for mark in MARKUP)
        backend = Tokenizer.from_str(json.dumps(state))
        backend.encode_special_tokens = True  # sic: as text
        backend.no_truncation()
        backend.no_padding()
        return backend

    def encode(self, text: str) -> list[int]:
        """Ids of untrusted text: no special tokens are added and none can arise from the text.

        Nor can any token that was added to the vocabulary as markup without being called special: tokenizers register
        `<think>` or `<tool_call>` so, and split only special ones on request.
        """
        return list(self._inert.encode(text, add_special_tokens=False).ids)


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
