"""Log-probabilities of continuations whose contexts begin alike: what rows share is read once.

The rows form a tree of prefixes. The longest row of a tree is read whole; every other one is a branch, read from where
it leaves a row that was read before, and attends to the keys and values of that row up to there. For information gain
the trunk is the rollout, and its branches are the counterfactual documents of each step and the answers before the end.

`plan` is about token ids alone, `score_shared` reads. Keys and values lie at slot = position, as in generate.py, so a
branch sees the slots up to its own position and needs no other mask.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from igsearch.policy.base import Policy

WORTH_SHARING = 8  # tokens: what branches off earlier is read whole, as another pass costs more than so few tokens
SEEN_PER_READ = 4  # how many slots of keys and values a pass may hold for every padded token that it may read


@dataclass(frozen=True, slots=True)
class Branch:
    """A row that is read from `start` on; before that it equals the row that it branches off. `branches`: off it."""

    row: int
    start: int
    branches: tuple["Branch", ...]


def plan(rows: Sequence[Sequence[int]], latest: Sequence[int]) -> list[Branch]:
    """The trees of `rows`, which are all different; a row is read from `latest` of its places at the latest.

    Every row appears once, the longest of those that begin alike before the others.
    """
    order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
    arrays = [np.asarray(rows[i]) for i in order]
    shared = [0, *(_common(a, b) for a, b in pairwise(arrays))]
    shared = [length if length >= WORTH_SHARING else 0 for length in shared]
    lengths, limits = [len(array) for array in arrays], [latest[i] for i in order]

    def grow(low: int, high: int, start: int) -> Branch:
        trunk = max(range(low, high), key=lengths.__getitem__)
        runs = [*_before(shared, low, trunk), *_after(shared, trunk, high)]
        branches = tuple(grow(first, last, depth) for first, last, depth in runs)
        return Branch(order[trunk], min(start, limits[trunk]), branches)

    edges = [*(i for i, length in enumerate(shared[: len(rows)]) if length == 0), len(rows)]
    return [grow(low, high, 0) for low, high in pairwise(edges)]


def _common(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two rows have in common before they differ."""
    length = min(len(a), len(b))
    differing = np.flatnonzero(a[:length] != b[:length])
    return int(differing[0]) if len(differing) else length


def _after(shared: Sequence[int], trunk: int, high: int) -> Iterator[tuple[int, int, int]]:
    """Runs of sorted rows behind `trunk` that leave it together, and at which depth. shared[i]: of rows i-1 and i."""
    begin, depth = trunk + 1, shared[trunk + 1] if trunk + 1 < high else 0
    for i in range(trunk + 2, high):
        if shared[i] <= depth:
            yield begin, i, depth
            begin, depth = i, shared[i]
    if begin < high:
        yield begin, high, depth


def _before(shared: Sequence[int], low: int, trunk: int) -> Iterator[tuple[int, int, int]]:
    """The same for the rows in front of it."""
    end, depth = trunk, shared[trunk]
    for i in range(trunk - 1, low, -1):
        if shared[i] <= depth:
            yield i, end, depth
            end, depth = i, shared[i]
    if end > low:
        yield low, end, depth


class _PathLayer(DynamicLayer):
    """Keys and values of one layer in one pass: the beginnings of its rows, then their own tokens at their places."""

    def __init__(self, positions_RT: torch.Tensor, beginning: tuple[torch.Tensor, torch.Tensor] | None) -> None:
        super().__init__()
        self.positions_RT, self.beginning = positions_RT, beginning
        self.states = (torch.empty(0), torch.empty(0))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All that the rows see, from the new (R, heads, T, width) states."""
        self.states = (key_states, value_states)
        if self.beginning is not None:
            keys, values = self.beginning
            self.states, self.beginning = (self._behind(keys, key_states), self._behind(values, value_states)), None
        return self.states

    def _behind(self, beginning_RHPD: torch.Tensor, own_RHTD: torch.Tensor) -> torch.Tensor:
        rows, heads, before, width = beginning_RHPD.shape
        whole = own_RHTD.new_zeros(rows, heads, int(self.positions_RT.max()) + 1, width)
        whole[:, :, :before] = beginning_RHPD
        rows_R = torch.arange(rows, device=own_RHTD.device)
        whole[rows_R[:, None], :, self.positions_RT] = own_RHTD.transpose(1, 2)
        return whole


@dataclass(frozen=True)
class _Waiting:
    """A branch, how many tokens it reads, and which row of the pass before holds its beginning."""

    branch: Branch
    length: int
    slot: int


def _passes(waiting: Sequence[_Waiting], budget: int) -> Iterator[list[_Waiting]]:
    """Split into passes of similar rows: at most `budget` padded tokens read, SEEN_PER_READ times as many seen, and
    less than half of any row padding."""
    chunk: list[_Waiting] = []
    longest = reach = 0
    for each in sorted(waiting, key=lambda one: (-one.length, -one.branch.start)):
        alike = 2 * each.length > longest  # the few tokens of an answer would else be padded to documents
        longest, reach = max(longest, each.length), max(reach, each.branch.start + each.length)
        rows = len(chunk) + 1
        if chunk and (rows * longest > budget or rows * reach > SEEN_PER_READ * budget or not alike):
            yield chunk
            chunk, longest, reach = [], each.length, each.branch.start + each.length
        chunk.append(each)
    if chunk:
        yield chunk


KeysValues = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""For each layer, (rows, heads, slots, width) each."""


@dataclass(frozen=True)
class _Reader:
    """Reads trees of rows, a pass at a time, each pass before those that go on from it.

    first: the place in each row of the first position whose prediction is wanted; depth: how many places follow.
    """

    policy: Policy
    rows: Sequence[Sequence[int]]
    first: Sequence[int]
    depth: int
    budget: int

    def read(
        self, branches: Sequence[tuple[Branch, int]], beginnings: KeysValues | None = None
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Rows and their logits (R, depth, V), pass by pass. A branch comes with its row of `beginnings`."""
        waiting = [_Waiting(branch, len(self.rows[branch.row]) - branch.start, slot) for branch, slot in branches]
        for chunk in _passes(waiting, self.budget):
            logits_RMV, states = self._pass(chunk, beginnings)
            yield [each.branch.row for each in chunk], logits_RMV
            parents = [slot for slot, each in enumerate(chunk) if each.branch.branches]
            if parents:
                kept = [(keys[parents], values[parents]) for keys, values in states]
                below = [(off, slot) for slot, parent in enumerate(parents) for off in chunk[parent].branch.branches]
                del states
                yield from self.read(below, kept)

    def _pass(self, chunk: Sequence[_Waiting], beginnings: KeysValues | None) -> tuple[torch.Tensor, KeysValues]:
        """One forward pass: logits, and keys and values of whole rows."""
        model, device = self.policy.model, self.policy.model.device
        width = max(each.length for each in chunk)
        starts_R = torch.tensor([each.branch.start for each in chunk], device=device)
        positions_RT = starts_R[:, None] + torch.arange(width, device=device)
        own = [list(self.rows[each.branch.row][each.branch.start :]) for each in chunk]
        ids_RT = torch.tensor([ids + [0] * (width - len(ids)) for ids in own], device=device)
        first_R = torch.tensor([self.first[each.branch.row] for each in chunk], device=device) - starts_R
        where_RM = (first_R[:, None] + torch.arange(self.depth, device=device)).clamp(max=width - 1)
        layers = [_PathLayer(positions_RT, pair) for pair in self._of(chunk, beginnings)]
        logits_RMV = model(
            input_ids=ids_RT,
            attention_mask=None if beginnings is None else _visible(positions_RT, self.policy.model.dtype),
            position_ids=positions_RT,
            past_key_values=Cache(layers=list(layers)),
            use_cache=True,
            logits_to_keep=where_RM,
        ).logits
        return logits_RMV, [layer.states for layer in layers]

    def _of(self, chunk: Sequence[_Waiting], beginnings: KeysValues | None) -> Iterator[Any]:
        """For each layer the beginnings of the rows of `chunk`; None where they have none."""
        if beginnings is None:
            yield from [None] * self.policy.model.config.get_text_config(decoder=True).num_hidden_layers
            return
        longest, slots = max(each.branch.start for each in chunk), [each.slot for each in chunk]
        for keys, values in beginnings:
            yield keys[:, :, :longest][slots], values[:, :, :longest][slots]


def _visible(positions_RT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(R, 1, T, K) additive: 0 on slots up to the own position, the smallest number beyond. Not bool, which each layer
    would turn into this."""
    slots_K = torch.arange(int(positions_RT.max()) + 1, device=positions_RT.device)
    hidden_RTK = slots_K > positions_RT[:, :, None]
    mask_RTK = torch.zeros(hidden_RTK.shape, dtype=dtype, device=hidden_RTK.device)
    return mask_RTK.masked_fill_(hidden_RTK, torch.finfo(dtype).min)[:, None]


@torch.no_grad()
def score_shared(
    policy: Policy, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], budget: int
) -> list[torch.Tensor]:
    """What `score` of score.py gives, up to rounding: for each pair the float32 log-probability (nats, on the CPU) of
    each continuation token given the context. `budget`: padded tokens that a forward pass may read.
    """
    if not all(contexts):
        raise ValueError("every context needs at least one token")
    pairs = list(dict.fromkeys((tuple(c), tuple(r)) for c, r in zip(contexts, continuations, strict=True)))
    found = {pair: torch.empty(0) for pair in pairs}
    pairs = [pair for pair in pairs if pair[1]]
    rows, first = [(*context, *rest)[:-1] for context, rest in pairs], [len(context) - 1 for context, _ in pairs]
    depth = max((len(rest) for _, rest in pairs), default=0)
    targets_NM = torch.tensor([[*rest, *[0] * (depth - len(rest))] for _, rest in pairs], device=policy.model.device)
    was_training = policy.model.training
    policy.model.eval()
    try:
        trees = [(tree, 0) for tree in plan(rows, first)]
        for read, logits_RMV in _Reader(policy, rows, first, depth, budget).read(trees):
            logprobs_RM = logits_RMV.float().log_softmax(-1).gather(-1, targets_NM[read][..., None])[..., 0].cpu()
            for row, logprobs_M in zip(read, logprobs_RM, strict=True):
                found[pairs[row]] = logprobs_M[: len(pairs[row][1])]
    finally:
        policy.model.train(was_training)
    return [found[tuple(c), tuple(r)] for c, r in zip(contexts, continuations, strict=True)]


def tokens_read(contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]) -> int:
    """How many tokens `score_shared` reads, padding left out."""
    pairs = dict.fromkeys((tuple(c), tuple(r)) for c, r in zip(contexts, continuations, strict=True) if r)
    rows = [(*context, *rest)[:-1] for context, rest in pairs]
    waiting, total = plan(rows, [len(context) - 1 for context, _ in pairs]), 0
    while waiting:
        branch = waiting.pop()
        total += len(rows[branch.row]) - branch.start
        waiting += branch.branches
    return total
