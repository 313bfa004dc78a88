"""Log-probabilities of the tokens that train, with their gradient, for no more work than they take.

TRL reads every row in full, at the width of the longest prompt and the longest response, and turns every position into
a distribution over the vocabulary. Here what precedes the last such token of a row is read, rows without one are not;
rows of similar length share a pass; they are padded on the right, where a causal model needs no mask; and distributions
are made where a token that trains comes next. These are kept until the backward pass, V float32 numbers for each such
token; TRL keeps none and makes them again.
"""

from collections.abc import Iterator
from typing import Any

import torch

PASS_TOKENS = 2048  # padded tokens of a pass: few enough for a processor's cache, enough for its overhead


def logprobs(
    model: Any,
    ids_BT: torch.Tensor,
    real_BT: torch.Tensor,
    wanted_BT: torch.Tensor,
    temperature: float,
    pass_tokens: int | None = PASS_TOKENS,
) -> torch.Tensor:
    """Log-probability of each wanted token at `temperature`, [B, T]; 0 elsewhere.

    `real_BT` is 0 on padding, which stands before and after a row's tokens; the first token of a row cannot be wanted.
    The model must be causal. `pass_tokens` None makes one pass. One row at least is read, so that there is a gradient,
    be it zero, of every weight: where processes average gradients, each has to bring one.
    """
    begin_B = real_BT.int().argmax(1)
    read_B = (_last(wanted_BT) - begin_B) * wanted_BT.any(1)
    read_B[0] = read_B[0].clamp(min=int(not wanted_BT.any()))
    passes = _passes(read_B.tolist(), pass_tokens)
    found = [_read(model, ids_BT, wanted_BT, begin_B, read_B, rows, temperature) for rows in passes]
    where_N, logprob_N = (torch.cat(column) for column in zip(*found, strict=True))
    return logprob_N.new_zeros(ids_BT.numel()).index_put((where_N,), logprob_N).view(ids_BT.shape)


def _last(wanted_BT: torch.Tensor) -> torch.Tensor:
    """The place of each row's last wanted token."""
    return wanted_BT.shape[1] - 1 - wanted_BT.flip(1).int().argmax(1)


def _passes(lengths: list[int], pass_tokens: int | None) -> Iterator[list[int]]:
    """The rows of which something is read, by falling length, cut so that none has too many padded tokens."""
    order = sorted((row for row, length in enumerate(lengths) if length), key=lambda row: -lengths[row])
    begin = 0
    for end in range(1, len(order) + 1):
        whole = end == len(order)
        if whole or (pass_tokens is not None and lengths[order[begin]] * (end - begin + 1) > pass_tokens):
            yield order[begin:end]
            begin = end


def _read(
    model: Any,
    ids_BT: torch.Tensor,
    wanted_BT: torch.Tensor,
    begin_B: torch.Tensor,
    read_B: torch.Tensor,
    rows: list[int],
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass: where the N wanted tokens of some rows stand in the flattened batch, and their log-probability."""
    rows_R = torch.tensor(rows, device=ids_BT.device)
    steps_W = torch.arange(int(read_B[rows_R].max()), device=ids_BT.device)
    next_RW = (begin_B[rows_R, None] + steps_W + 1).clamp(max=ids_BT.shape[1] - 1)
    wanted_RW = wanted_BT[rows_R].gather(1, next_RW) & (steps_W < read_B[rows_R, None])
    ids_RW = ids_BT[rows_R].gather(1, next_RW - 1)
    logits_NV = model(input_ids=ids_RW, use_cache=False, logits_to_keep=wanted_RW).logits.float() / temperature
    targets_N = ids_BT[rows_R].gather(1, next_RW)[wanted_RW]
    logprob_N = -torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    return (rows_R[:, None] * ids_BT.shape[1] + next_RW)[wanted_RW], logprob_N
