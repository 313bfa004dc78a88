"""Batched decoding with a key/value cache that is kept across turns.

Rows differ in length and stop at different times. Each row's keys and values lie at slot = position of a buffer of its
own, so a query at position p sees slots 0..p and nothing else is needed: padding on the right writes slots that the row
overwrites before it ever sees them, and the cache has no holes, whoever waits for whom. The rows that are read stand
first: one that ends its turn changes places with one that goes on, so that the cache is not gathered for each token.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import count, zip_longest
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
    """Which rows' places the current forward pass is about and where its tokens stand. Shared by all layers."""

    places: slice = field(default_factory=lambda: slice(0))
    places_R: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    positions_RT: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.long))
    seen: int = 0  # slots that some of these rows can see
    reach: int = 0  # slots that are written, padding included


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
        buffer[self.window.places_R[:, None], :, self.window.positions_RT] = states_RHTD.transpose(1, 2)
        return buffer

    def _grow(self, buffer: torch.Tensor | None, states_RHTD: torch.Tensor) -> torch.Tensor:
        capacity = self.window.reach + self.window.reach // 4 + 32
        larger = states_RHTD.new_zeros(self.rows, states_RHTD.shape[1], capacity, states_RHTD.shape[3])
        if buffer is not None:
            larger[:, :, : buffer.shape[2]] = buffer
        return larger

    def _view(self, buffer: torch.Tensor) -> torch.Tensor:
        return buffer[self.window.places, :, : self.window.seen]

    def move(self, source_M: torch.Tensor, places_M: torch.Tensor) -> None:
        """Put the rows of some places into others, all at once."""
        for buffer in (self.keys, self.values):
            if buffer is not None:
                buffer.index_copy_(0, places_M, buffer.index_select(0, source_M))

    def keep(self, places_K: torch.Tensor) -> None:
        """Forget all rows but those in these places."""
        self.rows = len(places_K)
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys.index_select(0, places_K), self.values.index_select(0, places_K)


def _check_attention(config: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "sliding_window", None):
        raise UserError(
            f"the policy's model type {config.model_type!r} does not attend to its whole context; use one that does"
        )


def _mask(positions_RT: torch.Tensor, length: int, dtype: torch.dtype) -> torch.Tensor:
    """(R, 1, T, length) additive: 0 on slots up to the query's position, the smallest number beyond."""
    hidden_RTK = torch.arange(length, device=positions_RT.device) > positions_RT[:, :, None]
    return hidden_RTK[:, None].to(dtype) * torch.finfo(dtype).min


def _chunks(pending: Sequence[Sequence[int]]) -> Iterator[slice]:
    """Split rows, in order, so that no chunk holds more than PREFILL_TOKENS padded tokens."""
    begin = width = 0
    for i, tokens in enumerate(pending):
        width = max(width, len(tokens))
        if i > begin and width * (i + 1 - begin) > PREFILL_TOKENS:
            yield slice(begin, i)
            begin, width = i, len(tokens)
    yield slice(begin, len(pending))


def _close_ranks(rows: Sequence[int], staying: Set[int]) -> list[int]:
    """The rows that stay, the last ones in the places of those that leave: as few as possible move."""
    last = (row for row in rows[len(staying) :] if row in staying)
    return [row if row in staying else next(last) for row in rows[: len(staying)]]


class CachedSession:
    """See `igsearch.policy.base.Session`. The model has `read` so many of each row's tokens; the others are pending."""

    def __init__(self, policy: Policy, contexts: Sequence[Sequence[int]]) -> None:
        self.model = policy.model
        self.device = policy.model.device
        self.eos = eos_ids(policy)
        config = policy.model.config.get_text_config(decoder=True)
        _check_attention(config)
        self.window = _Window()
        self.layers = [_SlotLayer(self.window, len(contexts)) for _ in range(config.num_hidden_layers)]
        self.cache = Cache(layers=list(self.layers))
        self.order = list(range(len(contexts)))  # the rows, in the order of their places
        self.tokens = {row: list(context) for row, context in enumerate(contexts)}
        self.read = dict.fromkeys(self.order, 0)

    def append(self, rows: Sequence[int], ids: Sequence[Sequence[int]]) -> None:
        """Append the environment's tokens to rows."""
        for row, tokens in zip(rows, ids, strict=True):
            self.tokens[row].extend(tokens)

    @torch.inference_mode()
    def drop(self, rows: Sequence[int]) -> None:
        """Rows that are finished leave the batch and free their memory."""
        for row in rows:
            del self.tokens[row], self.read[row]
        kept = [place for place, row in enumerate(self.order) if row in self.tokens]
        self.order = [self.order[place] for place in kept]
        for layer in self.layers:
            layer.keep(torch.tensor(kept, dtype=torch.long, device=self.device))

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
        live = self._first_order({row for row in rows if budget[row] > 0})
        was_training = self.model.training
        if was_training:
            self.model.eval()
        try:
            for step in count():
                if not live:
                    break
                logits_RV = self._read(live)
                draws_R = None if uniforms is None else np.array([uniforms[row][step] for row in live])
                tokens, logprobs = _choose(logits_RV, draws_R, temperature)
                live = _close_ranks(live, self._extend(live, tokens, logprobs, written, budget, stop))
        finally:
            if was_training:
                self.model.train()
        return [written[row] for row in rows]

    def _extend(
        self,
        live: Sequence[int],
        tokens: Sequence[int],
        logprobs: Sequence[float],
        written: dict[int, Sampled],
        budget: dict[int, int],
        stop: StopRule,
    ) -> set[int]:
        """Write one token to each live row; the rows that go on."""
        going_on = set()
        for row, token, logprob in zip(live, tokens, logprobs, strict=True):
            wrote = written[row]
            wrote.ids.append(token)
            wrote.logprobs.append(logprob)
            self.tokens[row].append(token)
            stopped = stop(row, token)
            if not (stopped or token in self.eos or len(wrote.ids) == budget[row]):
                going_on.add(row)
        return going_on

    def _first_order(self, rows: Set[int]) -> list[int]:
        """The rows in the order in which they read first: by falling length where one chunk does not hold them all."""
        order = _close_ranks(self.order, rows)
        if len(list(_chunks(self._pending(order)))) > 1:
            order.sort(key=lambda row: self.read[row] - len(self.tokens[row]))
        return order

    def _arrange(self, first: Sequence[int]) -> None:
        """Let these rows stand in the first places, in this order; those that stood there go where there is room."""
        place, begin = {row: place for place, row in enumerate(self.order)}, set(first)
        displaced = (row for row in self.order[: len(first)] if row not in begin)
        order = [*first, *(next(displaced) if row in begin else row for row in self.order[len(first) :])]
        moved = [new for new, row in enumerate(order) if place[row] != new]
        source_M = torch.tensor([place[order[new]] for new in moved], device=self.device)
        places_M = torch.tensor(moved, device=self.device)
        for layer in self.layers:
            layer.move(source_M, places_M)
        self.order = order

    def _pending(self, rows: Sequence[int]) -> list[list[int]]:
        return [self.tokens[row][self.read[row] :] for row in rows]

    def _read(self, rows: Sequence[int]) -> torch.Tensor:
        """Let the model read the pending tokens of `rows`; float32 logits (R, V) of what follows each row."""
        if rows != self.order[: len(rows)]:
            self._arrange(rows)
        pending = self._pending(rows)
        return torch.cat([self._forward(places, pending[places]) for places in _chunks(pending)])

    def _forward(self, places: slice, pending: Sequence[Sequence[int]]) -> torch.Tensor:
        ids_RT = torch.tensor(list(zip_longest(*pending, fillvalue=0)), device=self.device).T  # padded on the right
        width = ids_RT.shape[1]
        self._move_window(places, width)
        lasts_R1 = torch.tensor([[len(tokens) - 1] for tokens in pending], device=self.device) if width > 1 else 1
        output = self.model(
            input_ids=ids_RT,
            attention_mask=_mask(self.window.positions_RT, self.window.seen, self.model.dtype),
            position_ids=self.window.positions_RT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=lasts_R1,
        )
        return output.logits[:, 0].float()

    def _move_window(self, places: slice, width: int) -> None:
        """Set the window to where the rows in some places read on, and count their tokens as read."""
        window, rows = self.window, self.order[places]
        begin = [self.read[row] for row in rows]
        self.read |= {row: len(self.tokens[row]) for row in rows}
        window.places = places
        window.places_R = torch.arange(places.start, places.stop, device=self.device)
        window.positions_RT = torch.tensor(begin, device=self.device)[:, None] + torch.arange(width, device=self.device)
        window.seen = max(self.read[row] for row in rows)
        window.reach = max(begin) + width


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
