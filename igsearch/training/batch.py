"""Episodes as padded tensors, for the loss, and as a CreditBatch, for the credit rule.

Layout: prompts are padded on the left, responses on the right, so that the log-probabilities of all responses are one
slice of the logits. Masks come from lengths and from who wrote a token, never from comparing ids with the padding id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import torch

from igsearch.credit.batch import CreditBatch, Unit
from igsearch.records import EndReason, Episode, SpanKind
from igsearch.rewards.information_gain import StepGain


@dataclass(frozen=True)
class TokenBatch:
    """B rollouts: prompts of P and responses of L tokens.

    prompt_mask_BP and response_mask_BL are 1 on real tokens, loss_mask_BL is 1 on tokens the policy sampled.
    `tokens_per_update` is the denominator of the `dapo` loss: the sampled tokens of the whole batch of rollouts divided
    by the number of optimiser updates made from it. Log-probabilities are taken at `temperature`, that of the sampling.
    `old_logprobs_BL` are those of the policy that sampled; None where the first update has not been made yet.
    """

    prompt_BP: torch.Tensor
    prompt_mask_BP: torch.Tensor
    response_BL: torch.Tensor
    response_mask_BL: torch.Tensor
    loss_mask_BL: torch.Tensor
    tokens_per_update: float
    temperature: float = 1.0
    old_logprobs_BL: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.prompt_BP)

    def rows(self, index: slice | torch.Tensor) -> "TokenBatch":
        """Some of the rows, with the padding and the denominator of the whole."""
        tensors: dict[str, Any] = {
            name: value[index] for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return replace(self, **tensors)


def pad(rows: Sequence[Sequence[int]], value: int, left: bool = False) -> torch.Tensor:
    """Integer rows of different length as one int64 tensor [B, longest]."""
    width = max(map(len, rows), default=0)
    fill = [list(repeat(value, width - len(row))) for row in rows]
    return torch.tensor(
        [[*f, *row] if left else [*row, *f] for row, f in zip(rows, fill, strict=True)], dtype=torch.long
    )


def _mask(rows: Sequence[Sequence[int]], left: bool = False) -> torch.Tensor:
    return pad([[1] * len(row) for row in rows], 0, left)


def _trained(episode: Episode) -> list[int]:
    """1 on sampled tokens. An episode that the retriever broke off teaches nothing."""
    if episode.end is EndReason.RETRIEVER_FAILED:
        return [0] * len(episode.sampled)
    return [int(sampled) for sampled in episode.sampled]


def token_batch(
    episodes: Sequence[Episode],
    pad_id: int,
    updates: int = 1,
    temperature: float = 1.0,
    device: torch.device | str = "cpu",
) -> TokenBatch:
    """The tensors of the loss for one batch of rollouts from which `updates` optimiser updates will be made."""
    prompts = [episode.prompt_ids for episode in episodes]
    responses = [episode.response_ids for episode in episodes]
    loss_mask_BL = pad([_trained(episode) for episode in episodes], 0)
    return TokenBatch(
        prompt_BP=pad(prompts, pad_id, left=True).to(device),
        prompt_mask_BP=_mask(prompts, left=True).to(device),
        response_BL=pad(responses, pad_id).to(device),
        response_mask_BL=_mask(responses).to(device),
        loss_mask_BL=loss_mask_BL.to(device),
        tokens_per_update=max(int(loss_mask_BL.sum()), 1) / updates,
        temperature=temperature,
    )


def _units(episode: Episode, gains: Sequence[StepGain | None]) -> Iterator[Unit]:
    for index, (step, gain) in enumerate(zip(episode.steps, gains, strict=True)):
        query = episode.span_at(SpanKind.SEARCH, index)
        inside = range(query.start, query.end) if query else ()
        yield Unit(
            index=index,
            positions=tuple(position for position in inside if episode.sampled[position]),
            information_gain=gain.gain if gain else None,
            new_passages=step.new_passages,
        )


def credit_batch(
    episodes: Sequence[Episode],
    rewards: Sequence[float],
    gains: Sequence[Sequence[StepGain | None]] | None = None,
    dtype: torch.dtype = torch.float32,
) -> CreditBatch:
    """What the credit rule sees. `gains` holds one entry per search step of each episode; None where IG is not used."""
    per_step = gains if gains is not None else [[None] * len(episode.steps) for episode in episodes]
    return CreditBatch(
        uids=tuple(episode.question.uid for episode in episodes),
        reward_B=torch.tensor(list(rewards), dtype=dtype),
        loss_mask_BL=pad([_trained(episode) for episode in episodes], 0).bool(),
        units=tuple(tuple(_units(episode, row)) for episode, row in zip(episodes, per_step, strict=True)),
    )
