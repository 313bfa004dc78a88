"""Padding: lengths and provenance decide, ids never do."""

import math
from dataclasses import replace

import batches
import pytest
import scripted
import torch

from igsearch import credit
from igsearch.methods import METHODS
from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode
from igsearch.rewards.information_gain import StepGain
from igsearch.training.batch import credit_batch, pad, token_batch


@pytest.fixture(scope="module")
def bpe() -> Policy:
    return scripted.bpe_policy()


@pytest.fixture
def episodes(bpe: Policy) -> list[Episode]:
    return batches.episodes(bpe)


def test_pad_on_either_side_and_nothing_at_all() -> None:
    assert pad([[1], [2, 3]], 9).tolist() == [[1, 9], [2, 3]]
    assert pad([[1], [2, 3]], 9, left=True).tolist() == [[9, 1], [2, 3]]
    assert pad([[], []], 9).shape == (2, 0)


def test_prompts_end_and_responses_begin_at_one_column(episodes: list[Episode]) -> None:
    batch = token_batch(episodes, pad_id=0)
    for row, episode in enumerate(episodes):
        prompt, response = len(episode.prompt_ids), len(episode.response_ids)
        assert batch.prompt_BP[row, -prompt:].tolist() == episode.prompt_ids
        assert batch.response_BL[row, :response].tolist() == episode.response_ids
        assert batch.prompt_mask_BP[row].tolist() == [0] * (batch.prompt_BP.shape[1] - prompt) + [1] * prompt
        assert int(batch.response_mask_BL[row].sum()) == response
        assert batch.loss_mask_BL[row, :response].tolist() == [int(sampled) for sampled in episode.sampled]
        assert not batch.loss_mask_BL[row, response:].any()


def test_masks_do_not_look_at_ids(episodes: list[Episode]) -> None:
    common = episodes[0].response_ids[0]
    one, other = token_batch(episodes, pad_id=common), token_batch(episodes, pad_id=0)
    for name in ("prompt_mask_BP", "response_mask_BL", "loss_mask_BL"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_tokens_per_update_is_the_share_of_all_sampled_tokens(episodes: list[Episode]) -> None:
    total = sum(episode.sampled_tokens for episode in episodes)
    assert token_batch(episodes, 0).tokens_per_update == total
    assert token_batch(episodes, 0, updates=4).tokens_per_update == total / 4
    assert token_batch([], 0).tokens_per_update == 1


def test_rows_keep_padding_and_denominator(episodes: list[Episode]) -> None:
    batch = replace(token_batch(episodes, 0), old_logprobs_BL=torch.zeros(8, 3))
    part = batch.rows(slice(2, 5))
    assert len(part) == 3
    assert part.response_BL.shape[1] == batch.response_BL.shape[1]
    assert part.tokens_per_update == batch.tokens_per_update
    assert part.old_logprobs_BL is not None
    assert part.old_logprobs_BL.shape == (3, 3)


def test_units_are_the_search_steps_with_what_is_known_of_them(episodes: list[Episode]) -> None:
    gains = [[StepGain(1.5, 0.0, (0.0,))] * len(e.steps) for e in episodes]
    gains[3] = [None, gains[3][1]]
    batch = credit_batch(episodes, [0.0] * 8, batches.signals(gains))
    assert [len(units) for units in batch.units] == [1, 2, 0, 2, 1, 1, 1, 1]
    assert [(u.index, u.information_gain, u.new_passages) for u in batch.units[3]] == [(0, None, 1), (1, 1.5, 0)]
    assert batch.uids[:4] == ("nq/mixed", "nq/mixed", "nq/mixed", "musique/failed")
    assert credit_batch(episodes, [0.0] * 8).units[0][0].information_gain is None


@pytest.mark.parametrize("method", ["ig_search", "ig_search_shared"])
def test_what_was_measured_before_the_retriever_failed_changes_no_credit(episodes: list[Episode], method: str) -> None:
    gains = [[StepGain(0.4 + row, 0.0, (0.0,))] * len(e.steps) for row, e in enumerate(episodes)]
    rewards = [0.0, math.nan, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    episodes[1].end = EndReason.RETRIEVER_FAILED
    rule, config = credit.resolve("ig_search"), METHODS[method]
    whole = rule(credit_batch(episodes, rewards, batches.signals(gains)), config)
    kept = [0, *range(2, 8)]
    signals = batches.signals([gains[row] for row in kept])
    rest = rule(credit_batch([episodes[row] for row in kept], [rewards[row] for row in kept], signals), config)
    assert torch.allclose(whole[kept][:, : rest.shape[1]], rest)
    assert not whole[1].any()


def test_an_episode_whose_retriever_failed_teaches_nothing(bpe: Policy) -> None:
    broken = scripted.play(bpe, [["<search> fail </search>"]], scripted.Shelf())
    assert broken[0].end is EndReason.RETRIEVER_FAILED
    assert broken[0].sampled_tokens > 0
    assert not token_batch(broken, 0).loss_mask_BL.any()
    assert not credit_batch(broken, [float("nan")]).loss_mask_BL.any()


def test_thoughts_of_a_search_are_those_of_its_own_turn(bpe: Policy, episodes: list[Episode]) -> None:
    batch = credit_batch(episodes, [0.0] * len(episodes))
    thoughts = [
        [bpe.pieces.text(episode.response_ids[position] for position in unit.think).strip() for unit in units]
        for episode, units in zip(episodes, batch.units, strict=True)
    ]
    assert [[("who" in text) for text in row] for row in thoughts[:2]] == [[True], [False, True]]
    assert not any(any(row) for row in thoughts[3:])
    for units, sampled in zip(batch.units, batch.loss_mask_BL, strict=True):
        assert all(bool(sampled[position]) for unit in units for position in unit.think)
