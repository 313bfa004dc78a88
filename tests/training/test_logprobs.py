"""The log-probabilities that train: those of the spine, however little of the rows is read for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from both_policies import episodes, policies, policy

from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.training.batch import TokenBatch, token_batch
from igsearch.training.logprobs import logprobs
from igsearch.training.step import logprobs_of

__all__ = ["episodes", "policies", "policy"]

Wanted = Callable[[TokenBatch], torch.Tensor]


def pad_of(policy: Policy) -> int:
    return policy.tokenizer.pad_token_id or 0


def everything(batch: TokenBatch) -> torch.Tensor:
    return batch.loss_mask_BL.bool()


def few(batch: TokenBatch) -> torch.Tensor:
    """Rows without any, rows with one in the middle."""
    drawn_BL = torch.rand(batch.loss_mask_BL.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    drawn_BL[::3] = False
    return everything(batch) & drawn_BL


def nothing(batch: TokenBatch) -> torch.Tensor:
    return torch.zeros_like(everything(batch))


def sparse(policy: Policy, batch: TokenBatch, wanted_BL: torch.Tensor, pass_tokens: int | None = 64) -> torch.Tensor:
    ids_BT = torch.cat([batch.prompt_BP, batch.response_BL], 1)
    real_BT = torch.cat([batch.prompt_mask_BP, batch.response_mask_BL], 1)
    width = batch.prompt_BP.shape[1]
    wanted_BT = torch.nn.functional.pad(wanted_BL, (width, 0))
    return logprobs(policy.model, ids_BT, real_BT, wanted_BT, batch.temperature, pass_tokens)[:, width:]


def gradient(policy: Policy, logprob_BL: torch.Tensor) -> list[torch.Tensor]:
    weight_BL = torch.linspace(-1, 1, logprob_BL.numel()).view_as(logprob_BL)
    return list(torch.autograd.grad((weight_BL * logprob_BL).sum(), list(policy.model.parameters())))


@pytest.mark.parametrize("wanted", [everything, few, nothing])
@pytest.mark.parametrize("pass_tokens", [1, 64, None])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_and_gradient_are_the_spines(
    policy: Policy, episodes: list[Episode], wanted: Wanted, pass_tokens: int | None, temperature: float
) -> None:
    batch = token_batch(episodes, pad_of(policy), temperature=temperature)
    wanted_BL = wanted(batch)
    found_BL, expected_BL = sparse(policy, batch, wanted_BL, pass_tokens), logprobs_of(policy.model, batch) * wanted_BL
    torch.testing.assert_close(found_BL, expected_BL, atol=2e-5, rtol=1e-5)
    for mine, theirs in zip(gradient(policy, found_BL), gradient(policy, expected_BL), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


def test_padding_ids_inside_a_text_are_text(policy: Policy, episodes: list[Episode]) -> None:
    """Lengths say what is padding, ids never do: neither at the edges of a text nor within it."""
    pad = pad_of(policy)
    for episode in episodes:
        episode.prompt_ids = [pad, *episode.prompt_ids]
        place = next(at for at, sampled in enumerate(episode.sampled) if sampled)
        episode.response_ids = [*episode.response_ids[:place], pad, *episode.response_ids[place + 1 : -1], pad]
    batch = token_batch(episodes, pad)
    found_BL, expected_BL = sparse(policy, batch, everything(batch)), logprobs_of(policy.model, batch)
    torch.testing.assert_close(found_BL, expected_BL, atol=2e-5, rtol=1e-5)
    assert all(bool(found_BL[row].any()) for row in range(len(batch)))


def test_what_is_not_wanted_is_not_read(
    policy: Policy, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing from a row's last wanted token on, no row without one, no distribution but before a wanted token."""
    seen: list[tuple[tuple[int, ...], int]] = []
    forward = policy.model.forward

    def look(**given: Any) -> Any:
        assert given["use_cache"] is False
        seen.append((tuple(given["input_ids"].shape), int(given["logits_to_keep"].sum())))
        return forward(**given)

    monkeypatch.setattr(policy.model, "forward", look)
    batch = token_batch(episodes, pad_of(policy))
    wanted_BL = nothing(batch)
    wanted_BL[2, 4] = wanted_BL[5, 1] = True
    sparse(policy, batch, wanted_BL, pass_tokens=None)
    width = max(len(episodes[2].prompt_ids) + 4, len(episodes[5].prompt_ids) + 1)
    assert seen == [((2, width), 2)]
    seen.clear()
    sparse(policy, batch, nothing(batch))
    assert seen == [((1, 1), 0)]


def test_a_pass_has_no_more_tokens_than_it_may(
    policy: Policy, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []
    forward = policy.model.forward

    def look(**given: Any) -> Any:
        shapes.append(tuple(given["input_ids"].shape))
        return forward(**given)

    monkeypatch.setattr(policy.model, "forward", look)
    batch = token_batch(episodes, pad_of(policy))
    most = 2 * max(len(each.prompt_ids) + len(each.response_ids) for each in episodes)
    sparse(policy, batch, everything(batch), most)
    assert sum(rows for rows, _ in shapes) == len(episodes)
    assert all(rows * width <= most for rows, width in shapes)
    assert max(rows for rows, _ in shapes) > 1
    assert len(shapes) > 1
    assert [width for _, width in shapes] == sorted((width for _, width in shapes), reverse=True)
