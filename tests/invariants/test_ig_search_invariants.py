"""IG-Search: what must hold whatever the model, the batch and the settings (the letters are those of docs/methods)."""

import random
from collections.abc import Sequence

import batches
import pytest
import torch

from igsearch.credit import grpo, ig_search
from igsearch.credit.batch import CreditBatch
from igsearch.methods import METHODS, CreditConfig, InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards.answer import episode_reward
from igsearch.rewards.information_gain import StepGain, information_gain, pool_of
from igsearch.training.batch import credit_batch

KEY = (0, "train", 1)
PLAIN = InformationGainConfig()
VARIANTS = [name for name, config in METHODS.items() if config.information_gain]
Gains = list[list[StepGain | None]]


def scored(policy: Policy, episodes: Sequence[Episode], method: CreditConfig) -> tuple[CreditBatch, Gains]:
    rewards = [episode_reward(method.reward, episode) for episode in episodes]
    gains = information_gain(policy, episodes, method.information_gain or PLAIN, KEY, rewards)
    return credit_batch(episodes, rewards, batches.signals(gains), dtype=torch.float64), gains


@pytest.fixture(params=VARIANTS)
def method(request: pytest.FixtureRequest) -> CreditConfig:
    return METHODS[request.param]


def test_a_alpha_zero_is_grpo_bit_for_bit(policy: Policy, episodes: list[Episode], method: CreditConfig) -> None:
    batch, _ = scored(policy, episodes, method)
    silent = ig_search.advantages(batch, method.model_copy(update={"alpha": 0.0}))
    assert torch.equal(silent, grpo.advantages(batch, method))


def test_b_eq4_bonus_of_a_query_sums_to_alpha_ig(policy: Policy, episodes: list[Episode]) -> None:
    stabiliser = METHODS["ig_search"].stabiliser.model_copy(update={"dead_zone": None})
    method = METHODS["ig_search"].model_copy(update={"stabiliser": stabiliser})
    batch, gains = scored(policy, episodes, method)
    bonus_BL = ig_search.advantages(batch, method) - grpo.advantages(batch, method)
    checked = 0
    for row, units in enumerate(batch.units):
        for unit, gain in zip(units, gains[row], strict=True):
            expected = method.alpha * ig_search.stabilise(gain.gain, method.stabiliser) if gain else 0.0
            assert bonus_BL[row, list(unit.positions)].sum().item() == pytest.approx(expected, abs=1e-12)
            checked += bool(expected)
    assert checked == 8


def test_c_nothing_changes_outside_the_queries(policy: Policy, episodes: list[Episode], method: CreditConfig) -> None:
    batch, _ = scored(policy, episodes, method)
    changed_BL = ig_search.advantages(batch, method) != grpo.advantages(batch, method)
    for row, units in enumerate(batch.units):
        inside = {position for unit in units for position in unit.positions}
        assert set(changed_BL[row].nonzero()[:, 0].tolist()) <= inside
    assert changed_BL.any() or method.stabiliser.dead_zone


def test_query_positions_are_the_sampled_tokens_of_the_query(policy: Policy, episodes: list[Episode]) -> None:
    batch, _ = scored(policy, episodes, METHODS["ig_search"])
    for episode, units in zip(episodes, batch.units, strict=True):
        for unit, step in zip(units, episode.steps, strict=True):
            text = policy.pieces.text(episode.response_ids[position] for position in unit.positions)
            assert step.query in text
            assert all(episode.sampled[position] for position in unit.positions)
            assert "documents" not in text


def test_d_gain_is_zero_where_the_random_pair_is_the_real_one(policy: Policy, episodes: list[Episode]) -> None:
    for row, episode in enumerate(episodes):
        own = pool_of(policy, [episode], PLAIN)
        for pair in own:
            gain = information_gain(policy, [episode], PLAIN, KEY, pool=[pair])[0][pair.step]
            assert gain is not None, row
            assert gain.gain == 0.0


def test_e_injected_and_padded_tokens_have_advantage_zero(
    policy: Policy, episodes: list[Episode], method: CreditConfig
) -> None:
    batch, _ = scored(policy, episodes, method)
    advantage_BL = ig_search.advantages(batch, method)
    for row, episode in enumerate(episodes):
        injected = [i for i, sampled in enumerate(episode.sampled) if not sampled]
        assert not advantage_BL[row, injected].any()
        assert not advantage_BL[row, len(episode.sampled) :].any()


def values(gains: Gains) -> list[float]:
    return [gain.gain for row in gains for gain in row if gain]


@pytest.mark.parametrize("share", [False, True])
def test_f_gain_does_not_depend_on_order_or_scoring_batch(policy: Policy, episodes: list[Episode], share: bool) -> None:
    config = PLAIN.model_copy(update={"share_draws": share})
    pool = pool_of(policy, episodes, config)
    base = information_gain(policy, episodes, config, KEY)
    order = list(range(len(episodes)))
    random.Random(5).shuffle(order)
    shuffled = information_gain(policy, [episodes[i] for i in order], config, KEY)
    assert values([shuffled[order.index(i)] for i in range(len(order))]) == pytest.approx(values(base), abs=2e-5)
    single = information_gain(policy, episodes, config.model_copy(update={"pass_tokens": 1}), KEY)
    assert values(single) == pytest.approx(values(base), abs=2e-5)
    alone = [information_gain(policy, [episode], config, KEY, pool=pool)[0] for episode in episodes]
    assert values(alone) == pytest.approx(values(base), abs=2e-5)


def test_f_gain_does_not_depend_on_the_padding_id(policy: Policy, episodes: list[Episode]) -> None:
    base = values(information_gain(policy, episodes, PLAIN, KEY))
    before = policy.tokenizer.pad_token_id
    policy.tokenizer.pad_token_id = episodes[0].response_ids[1]
    try:
        assert values(information_gain(policy, episodes, PLAIN, KEY)) == base
    finally:
        policy.tokenizer.pad_token_id = before


def test_rollouts_of_a_group_are_compared_with_the_same_pair_when_draws_are_shared(
    policy: Policy, episodes: list[Episode]
) -> None:
    """Two rollouts that did the same then have the same gain: the noise of the draw cancels in the centring."""
    twin = Episode(**{name: getattr(episodes[0], name) for name in Episode.__slots__})
    twin.rollout = 7
    shared = METHODS["ig_search_shared"].information_gain.model_copy(update={"score_solved_groups": True})
    gains = information_gain(policy, [*episodes, twin], shared, KEY)
    assert gains[0][0].gain == gains[-1][0].gain
    assert gains[0][0].random == gains[-1][0].random


def test_failed_groups_still_teach_queries_and_nothing_else(policy: Policy, episodes: list[Episode]) -> None:
    method = METHODS["ig_search"].model_copy(update={"stabiliser": METHODS["ig_search_shared"].stabiliser})
    batch, _ = scored(policy, episodes, method)
    advantage_BL = ig_search.advantages(batch, method)
    for row in (3, 5):
        query = {position for unit in batch.units[row] for position in unit.positions}
        assert set(advantage_BL[row].nonzero()[:, 0].tolist()) == query
    assert not grpo.advantages(batch, method)[[3, 4, 5, 6, 7]].any()
