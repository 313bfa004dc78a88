"""Batched decoding with a key/value cache that is kept across turns.

Rows differ in length and stop at different times. Each row's keys and values lie at slot = position of a buffer of its
own, so a query at position p sees slots 0..p and nothing else is needed: padding on the right writes slots that the row
overwrites before it ever sees them, and the cache has no holes, whoever waits for whom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from igsearch import seeds as counter
from igsearch.errors import UserError
from igsearch.policy.base import Policy, Sampled, StopRule
from igsearch.policy.generate import eos_ids

PREFILL_TOKENS = 8192  # padded tokens per forward pass: bounds the memory of a prefill


@dataclass
class _Window:
    """Which rows the current forward pass is about and where its tokens stand. Shared by all layers."""

    rows_R: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    positions_RT: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.long))
    seen: int = 0  # slots that some of these rows can see
    reach: int = 0  # slots that are written, padding included
    whole: bool = False  # the rows are all rows, in order


class _SlotLayer(DynamicLayer):
    """Keys and values of one layer, each (rows, heads, capacity, width), written at the positions of the window."""

    def __init__(self, window: _Window, rows: int) -> None:
        super().__init__()
        self.window, self.rows = window, rows

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the new (R, heads, T, width) states; return all that the window's rows can see."""
        self.keys = self._write(self.keys, key_states)
        self.values = self._write(self.values, value_states)
        self.is_initialized = True
        return self._view(self.keys), self._view(self.values)

    def _write(self, buffer: torch.Tensor | None, states_RHTD: torch.Tensor) -> torch.Tensor:
        if buffer is None or buffer.shape[2] < self.window.reach:
            buffer = self._grow(buffer, states_RHTD)
        buffer[self.window.rows_R[:, None], :, self.window.positions_RT] = states_RHTD.transpose(1, 2)
        return buffer

    def _grow(self, buffer: torch.Tensor | None, states_RHTD: torch.Tensor) -> torch.Tensor:
        capacity = self.window.reach + self.window.reach // 4 + 32
        larger = states_RHTD.new_zeros(self.rows, states_RHTD.shape[1], capacity, states_RHTD.shape[3])
        if buffer is not None:
            larger[:, :, : buffer.shape[2]] = buffer
        return larger

    def _view(self, buffer: torch.Tensor) -> torch.Tensor:
        seen = buffer[:, :, : self.window.seen]
        return seen if self.window.whole else seen[self.window.rows_R]

    def keep(self, rows_K: torch.Tensor) -> None:
        """Forget all rows but these."""
        self.rows = len(rows_K)
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows_K], self.values[rows_K]


def _check_attention(config: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "sliding_window", None):
        raise UserError(
            f"the policy's model type {config.model_type!r} does not attend to its whole context; use one that does"
        )


def _mask(positions_RT: torch.Tensor, length: int, dtype: torch.dtype) -> torch.Tensor:
    """(R, 1, T, length) additive: 0 on slots up to the query's position, the smallest number beyond."""
    slots_K = torch.arange(length, device=positions_RT.device)
    hidden_RTK = slots_K > positions_RT[:, :, None]
    return torch.zeros(hidden_RTK.shape, dtype=dtype, device=hidden_RTK.device).masked_fill_(
        hidden_RTK, torch.finfo(dtype).min
    )[:, None]


def _chunks(order: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Split `order` (by falling length) so that no chunk holds more than PREFILL_TOKENS padded tokens."""
    chunk: list[int] = []
    for i in order:
        if chunk and lengths[chunk[0]] * (len(chunk) + 1) > PREFILL_TOKENS:
            yield chunk
            chunk = []
        chunk.append(i)
    yield chunk


class CachedSession:
    """See `igsearch.policy.base.Session`. `pending` holds each row's tokens that the model has not read yet."""

    def __init__(self, policy: Policy, contexts: Sequence[Sequence[int]]) -> None:
        self.model = policy.model
        self.device = policy.model.device
        self.eos = eos_ids(policy)
        config = policy.model.config.get_text_config(decoder=True)
        _check_attention(config)
        self.window = _Window()
        self.layers = [_SlotLayer(self.window, len(contexts)) for _ in range(config.num_hidden_layers)]
        self.cache = Cache(layers=list(self.layers))
        self.slot = {row: row for row in range(len(contexts))}
        self.length = dict.fromkeys(self.slot, 0)
        self.pending = {row: list(context) for row, context in enumerate(contexts)}

    def append(self, rows: Sequence[int], ids: Sequence[Sequence[int]]) -> None:
        """Append the environment's tokens to rows."""
        for row, tokens in zip(rows, ids, strict=True):
            self.pending[row].extend(tokens)

    @torch.inference_mode()
    def drop(self, rows: Sequence[int]) -> None:
        """Rows that are finished leave the batch and free their memory."""
        for row in rows:
            del self.slot[row], self.length[row], self.pending[row]
        kept = torch.tensor(list(self.slot.values()), dtype=torch.long, device=self.device)
        self.slot = {row: slot for slot, row in enumerate(self.slot)}
        for layer in self.layers:
            layer.keep(kept)

    @torch.inference_mode()
    def generate(
        self,
        rows: Sequence[int],
        stop: StopRule,
        max_new_tokens: Sequence[int],
        seeds: Sequence[int] | None,
        temperature: float,
    ) -> list[Sampled]:
        """One turn for each of `rows`; see the protocol. The result has the order of `rows`."""
        written = {row: Sampled([], []) for row in rows}
        budget = dict(zip(rows, max_new_tokens, strict=True))
        uniforms = _uniforms(rows, seeds, budget)
        live = [row for row in rows if budget[row] > 0]
        was_training = self.model.training
        self.model.eval()
        try:
            while live:
                logits_RV = self._read(live)
                index = [len(written[row].ids) for row in live]
                draws = (
                    None if uniforms is None else np.array([uniforms[r][i] for r, i in zip(live, index, strict=True)])
                )
                tokens, logprobs = _choose(logits_RV, draws, temperature)
                live = self._extend(live, tokens, logprobs, written, budget, stop)
        finally:
            self.model.train(was_training)
        return [written[row] for row in rows]

    def _extend(
        self,
        live: Sequence[int],
        tokens: Sequence[int],
        logprobs: Sequence[float],
        written: dict[int, Sampled],
        budget: dict[int, int],
        stop: StopRule,
    ) -> list[int]:
        """Write one token to each live row; the rows that go on."""
        going_on = []
        for row, token, logprob in zip(live, tokens, logprobs, strict=True):
            written[row].ids.append(token)
            written[row].logprobs.append(logprob)
            self.pending[row].append(token)
            stopped = stop(row, token)
            if not (stopped or token in self.eos or len(written[row].ids) == budget[row]):
                going_on.append(row)
        return going_on

    def _read(self, rows: Sequence[int]) -> torch.Tensor:
        """Let the model read the pending tokens of `rows`; float32 logits (R, V) of what follows each row."""
        lengths = [len(self.pending[row]) for row in rows]
        order = sorted(range(len(rows)), key=lambda i: -lengths[i]) if max(lengths) > 1 else list(range(len(rows)))
        parts = [(chunk, self._forward([rows[i] for i in chunk])) for chunk in _chunks(order, lengths)]
        logits_RV = torch.cat([logits for _, logits in parts])
        back = torch.tensor([i for chunk, _ in parts for i in chunk], device=self.device).argsort()
        return logits_RV[back]

    def _forward(self, rows: Sequence[int]) -> torch.Tensor:
        lengths = [len(self.pending[row]) for row in rows]
        ids_RT = self._take_pending(rows, max(lengths))
        window = self.window
        output = self.model(
            input_ids=ids_RT,
            attention_mask=_mask(window.positions_RT, window.seen, self.model.dtype),
            position_ids=window.positions_RT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=torch.tensor(lengths, device=self.device)[:, None] - 1,
        )
        return output.logits[:, 0].float()

    def _take_pending(self, rows: Sequence[int], width: int) -> torch.Tensor:
        """The pending tokens of `rows`, padded on the right to (R, width); sets the window to where they stand."""
        ids = [self.pending[row] + [0] * (width - len(self.pending[row])) for row in rows]
        begin = [self.length[row] for row in rows]
        slots = [self.slot[row] for row in rows]
        for row in rows:
            self.length[row] += len(self.pending[row])
            self.pending[row] = []
        self.window.rows_R = torch.tensor(slots, device=self.device)
        steps_T = torch.arange(width, device=self.device)
        self.window.positions_RT = torch.tensor(begin, device=self.device)[:, None] + steps_T
        self.window.seen = max(self.length[row] for row in rows)
        self.window.reach = max(begin) + width
        self.window.whole = slots == list(range(len(self.slot)))
        return torch.tensor(ids, device=self.device)


def _uniforms(rows: Sequence[int], seeds: Sequence[int] | None, budget: dict[int, int]) -> dict[int, np.ndarray] | None:
    """For each row its own uniforms in [0, 1), one per token; how many are drawn does not change the first ones."""
    if seeds is None:
        return None
    return {row: counter.generator(seed).random(budget[row]) for row, seed in zip(rows, seeds, strict=True)}


def _choose(
    logits_RV: torch.Tensor, uniforms_R: np.ndarray | None, temperature: float
) -> tuple[list[int], list[float]]:
    """One token per row, the most likely one or by inverse CDF, with its log-probability at temperature 1."""
    if uniforms_R is None:
        tokens_R = logits_RV.argmax(dim=-1)
    else:
        cdf_RV = torch.softmax(logits_RV.double() / temperature, dim=-1).cumsum(dim=-1)
        targets_R1 = torch.as_tensor(uniforms_R, device=cdf_RV.device)[:, None] * cdf_RV[:, -1:]
        tokens_R = torch.searchsorted(cdf_RV, targets_R1, right=True)[:, 0]
    logprobs_R = logits_RV.log_softmax(dim=-1).gather(1, tokens_R[:, None])[:, 0]
    return tokens_R.tolist(), logprobs_R.tolist()
