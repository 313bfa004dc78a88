"""Episodes as padded tensors, for the loss, and as a CreditBatch, for the credit rule.

Layout: prompts are padded on the left, responses on the right, so that the log-probabilities of all responses are one
slice of the logits. Masks come from lengths and from who wrote a token, never from comparing ids with the padding id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import torch

from igsearch.credit.batch import CreditBatch, TurnUnit, Unit
from igsearch.methods import RewardKind
from igsearch.records import EndReason, Episode, SpanKind
from igsearch.rewards.answer import attempt_rewards
from igsearch.rewards.signals import Signals, nothing


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


def loss_mask(episodes: Sequence[Episode]) -> torch.Tensor:
    """1 on the tokens that are trained, int64 [B, L]."""
    return pad([_trained(episode) for episode in episodes], 0)


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
    loss_mask_BL = loss_mask(episodes)
    return TokenBatch(
        prompt_BP=pad(prompts, pad_id, left=True).to(device),
        prompt_mask_BP=_mask(prompts, left=True).to(device),
        response_BL=pad(responses, pad_id).to(device),
        response_mask_BL=_mask(responses).to(device),
        loss_mask_BL=loss_mask_BL.to(device),
        tokens_per_update=max(int(loss_mask_BL.sum()), 1) / updates,
        temperature=temperature,
    )


def _units(episode: Episode, signals: Signals) -> Iterator[Unit]:
    rewards = signals.rewards or (None,) * len(episode.steps)
    for index, (step, gain, reward) in enumerate(zip(episode.steps, signals.gains, rewards, strict=True)):
        query = episode.span_at(SpanKind.SEARCH, index)
        yield Unit(
            index=index,
            positions=_sampled(episode, query.start, query.end) if query else (),
            information_gain=gain.gain if gain else None,
            new_passages=step.new_passages,
            reward=reward,
            closing=query.outer_end - 1 if query else None,
            think=_thoughts(episode, index),
        )


def _thoughts(episode: Episode, step: int) -> tuple[int, ...]:
    """The sampled tokens of the think blocks in the turn that executed a search step."""
    turn = next((turn for turn in episode.turns if turn.step == step), None)
    blocks = [span for span in episode.spans_of(SpanKind.THINK) if turn and turn.start <= span.start < turn.end]
    return tuple(position for span in blocks for position in _sampled(episode, span.start, span.end))


def _sampled(episode: Episode, start: int, end: int) -> tuple[int, ...]:
    return tuple(position for position in range(start, end) if episode.sampled[position])


def _turns(episode: Episode, signals: Signals) -> Iterator[TurnUnit]:
    """Each turn with the state in which it was written: the question, or the documents found last."""
    anchor, beliefs = episode.question.text, signals.beliefs.after
    for turn in episode.turns:
        yield TurnUnit(
            positions=_sampled(episode, turn.start, turn.end),
            anchor=anchor,
            step=turn.step if turn.step >= 0 else None,
            valid=turn.valid,
            attempt=turn.attempt,
            belief=beliefs[turn.step] if beliefs and turn.step >= 0 else None,
        )
        documents = episode.span_at(SpanKind.DOCUMENTS, turn.step) if turn.step >= 0 else None
        anchor = documents.text if documents else anchor


def _usable(episodes: Sequence[Episode], signals: Sequence[Signals]) -> list[Signals]:
    pairs = zip(episodes, signals, strict=True)
    return [nothing(each) if each.end is EndReason.RETRIEVER_FAILED else measured for each, measured in pairs]


def credit_batch(
    episodes: Sequence[Episode],
    rewards: Sequence[float],
    signals: Sequence[Signals] | None = None,
    reward: RewardKind = "em",
    dtype: torch.dtype = torch.float32,
) -> CreditBatch:
    """What the credit rule sees of episodes, their outcome rewards and signals (None: nothing measured).

    `reward` is the kind of reward that single attempts get. Whatever was measured of a rollout whose retriever failed
    is left out: it must not change the credit of the others.
    """
    measured = _usable(episodes, signals if signals is not None else [nothing(episode) for episode in episodes])
    return CreditBatch(
        uids=tuple(episode.question.uid for episode in episodes),
        reward_B=torch.tensor(list(rewards), dtype=dtype),
        loss_mask_BL=loss_mask(episodes).bool(),
        units=tuple(tuple(_units(episode, row)) for episode, row in zip(episodes, measured, strict=True)),
        turns=tuple(tuple(_turns(episode, row)) for episode, row in zip(episodes, measured, strict=True)),
        first_belief=tuple(row.beliefs.first for row in measured),
        attempt_rewards=tuple(
            tuple(attempt_rewards(reward, episode)) if episode.attempts else (float(whole),)
            for episode, whole in zip(episodes, rewards, strict=True)
        ),
        answered=tuple(episode.prediction is not None for episode in episodes),
    )
