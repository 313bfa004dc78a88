"""IGPO: the vector of two rollouts, both normalisations, and every way in which a belief can be missing."""

import math
from dataclasses import replace

import pytest
import torch

from igsearch.credit.batch import CreditBatch, TurnUnit
from igsearch.credit.igpo import advantages, normaliser, turn_rewards
from igsearch.errors import UserError
from igsearch.methods import METHODS, CreditConfig, IgpoConfig

IGPO = METHODS["igpo"]
WIDTH = 3
NAN = math.nan


def with_(**changes: object) -> CreditConfig:
    return IGPO.model_copy(update={"igpo": IgpoConfig.model_validate(changes)})


def batch_of(*beliefs: tuple[float | None, ...], rewards: tuple[float, ...], uids: str = "") -> CreditBatch:
    """One rollout per tuple (belief before any turn, after each search); each turn has two sampled tokens and one of
    the environment, the last turn is the answer."""
    turns = [
        tuple(
            TurnUnit((WIDTH * t, WIDTH * t + 1), step=t if t + 1 < len(row) else None, belief=belief)
            for t, belief in enumerate((*row[1:], None))
        )
        for row in beliefs
    ]
    mask_BL = torch.zeros(len(beliefs), WIDTH * max(map(len, turns)), dtype=torch.bool)
    for row, units in enumerate(turns):
        for turn in units:
            mask_BL[row, list(turn.positions)] = True
    return CreditBatch(
        uids=tuple(uids or "q" * len(beliefs)),
        reward_B=torch.tensor(rewards),
        loss_mask_BL=mask_BL,
        units=((),) * len(beliefs),
        turns=tuple(turns),
        first_belief=tuple(row[0] for row in beliefs),
        answered=(True,) * len(beliefs),
    )


def by_turn(batch: CreditBatch, config: CreditConfig = IGPO) -> list[list[float]]:
    """The advantage of each turn of each rollout; every sampled token of a turn has it, no other token has any."""
    advantage_BL = advantages(batch, config)
    values = []
    for row, turns in enumerate(batch.turns):
        for turn in turns:
            assert len(set(advantage_BL[row, list(turn.positions)].tolist())) == 1
        values.append([advantage_BL[row, turn.positions[0]].item() for turn in turns])
    assert not advantage_BL[~batch.loss_mask_BL].any()
    return values


VECTOR = batch_of((-5.0, -4.0), (-5.0, -2.0), rewards=(0.0, 1.0))


def test_vector_separate_two_rollouts_one_gain_each() -> None:
    for got, expected in zip(by_turn(VECTOR), [[-2.0, -1.0], [2.0, 1.0]], strict=True):
        assert got == pytest.approx(expected, abs=1e-4)


def test_vector_joint_takes_one_mean_and_one_spread() -> None:
    """Gains 1 and 3 beside outcomes 0 and 1: mean 1.25, population variance 1.1875."""
    spread = math.sqrt(1.1875)
    expected = [[(-0.25 - 1.25) / spread, -1.25 / spread], [(1.75 - 0.25) / spread, -0.25 / spread]]
    for got, values in zip(by_turn(VECTOR, with_(normalise="joint")), expected, strict=True):
        assert got == pytest.approx(values, abs=1e-4)


def test_gamma_discounts_what_is_normalised_already() -> None:
    got = by_turn(VECTOR, with_(gamma=0.5))
    assert got[1] == pytest.approx([1 + 0.5 * 1, 1], abs=1e-4)


def test_a_turn_is_rewarded_for_its_own_difference() -> None:
    assert turn_rewards(-5.0, [-4.0, -4.5], IgpoConfig()) == [1.0, -0.5]
    probability = turn_rewards(-5.0, [-4.0], IgpoConfig(difference="probability"))
    assert probability == pytest.approx([math.exp(-4) - math.exp(-5)])


def test_spread_is_that_of_the_population_and_a_single_value_is_only_centred() -> None:
    assert normaliser([0.0, 2.0]) == pytest.approx((1.0, 1.0), abs=1e-5)
    assert normaliser([3.0]) == pytest.approx((3.0, 1.0), abs=1e-5)
    mean, _ = normaliser([0.1] * 3)
    assert mean == 0.1


def test_a_lone_searcher_gets_the_outcome_alone() -> None:
    """One gain in the group: its std is 1, so it is centred to 0."""
    got = by_turn(batch_of((-5.0, -1.0), (-5.0,), rewards=(1.0, 0.0)))
    assert got[0] == pytest.approx([1.0, 1.0], abs=1e-4)
    assert got[1] == pytest.approx([-1.0], abs=1e-4)


def test_an_exactly_zero_gain_is_a_reward_of_zero_of_a_turn() -> None:
    """The released code stores 1e-10 there, lest the turn be lost."""
    got = by_turn(batch_of((-5.0, -5.0), (-5.0, -3.0), rewards=(1.0, 1.0)))
    assert got[0] == pytest.approx([-1.0, 0.0], abs=1e-4)
    assert got[1] == pytest.approx([1.0, 0.0], abs=1e-4)


@pytest.mark.parametrize("missing", [None, NAN, -math.inf])
def test_a_rollout_with_fewer_gains_than_turns_is_credited_by_its_outcome_alone(missing: float | None) -> None:
    """It also leaves the statistics of the group's gains to the others."""
    got = by_turn(batch_of((-5.0, missing, -1.0), (-5.0, -4.0), (-5.0, -2.0), rewards=(1.0, 0.0, 0.5)))
    outcome = [1.0, 0.0, 0.5]
    spread = math.sqrt(sum((r - 0.5) ** 2 for r in outcome) / 3)
    assert got[0] == pytest.approx([0.5 / spread] * 3, abs=1e-3)
    assert got[1] == pytest.approx([-1 - 0.5 / spread, -0.5 / spread], abs=1e-3)
    assert got[2] == pytest.approx([1.0, 0.0], abs=1e-3)


def test_no_answer_costs_the_format_penalty() -> None:
    silent = replace(VECTOR, answered=(False, True), reward_B=torch.tensor([0.0, 0.0]))
    assert by_turn(silent)[0] == pytest.approx([-2.0, -1.0], abs=1e-4)
    joint = by_turn(silent, with_(normalise="joint", format_penalty=4.0))
    values = [1.0, 3.0, -4.0, 0.0]
    spread = math.sqrt(sum(v * v for v in values) / 4)
    assert joint[0] == pytest.approx([(1 - 4) / spread, -4 / spread], abs=1e-4)


def test_groups_of_equal_rewards_and_beliefs_get_exactly_zero() -> None:
    assert not advantages(batch_of((-5.1, -4.3), (-5.1, -4.3), (-5.1, -4.3), rewards=(0.1, 0.1, 0.1)), IGPO).any()


def test_failed_groups_still_tell_good_searches_from_bad_ones() -> None:
    got = by_turn(batch_of((-5.0, -4.0), (-5.0, -2.0), rewards=(0.0, 0.0)))
    assert got == [pytest.approx([-1.0, 0.0], abs=1e-4), pytest.approx([1.0, 0.0], abs=1e-4)]


def test_a_rollout_whose_retriever_failed_gets_zero_and_enters_no_statistic() -> None:
    failed = batch_of((-5.0, -4.0), (-5.0, -2.0), (-5.0, 9.0), rewards=(0.0, 1.0, NAN))
    got = by_turn(failed)
    assert got[:2] == by_turn(VECTOR)
    assert got[2] == [0.0, 0.0]


def test_order_other_groups_and_padding_change_nothing() -> None:
    rows = [(-5.0, -4.0, -1.0), (-5.0, -2.0), (-3.0,), (-3.0, -8.0)]
    rewards = (0.0, 1.0, 0.5, 0.25)
    base = by_turn(batch_of(*rows, rewards=rewards, uids="abab"))
    order = [3, 1, 0, 2]
    moved = by_turn(batch_of(*(rows[i] for i in order), rewards=tuple(rewards[i] for i in order), uids="bbaa"))
    assert [moved[order.index(i)] for i in range(4)] == [
        pytest.approx(row, abs=1e-6) for row in base
    ]  # groups a = rows 0, 2 and b = rows 1, 3
    alone = by_turn(batch_of(rows[0], rows[2], rewards=(rewards[0], rewards[2])))
    assert alone == [base[0], base[2]]
    wide = batch_of(*rows, rewards=rewards, uids="abab")
    padded = replace(wide, loss_mask_BL=torch.nn.functional.pad(wide.loss_mask_BL, (0, 5)))
    assert by_turn(padded) == base


def test_masked_tokens_of_a_turn_get_zero() -> None:
    masked = replace(VECTOR, loss_mask_BL=VECTOR.loss_mask_BL.clone())
    masked.loss_mask_BL[:, 1] = False
    assert advantages(masked, IGPO)[:, 1].tolist() == [0, 0]


def test_the_rule_without_its_settings_is_one_sentence() -> None:
    with pytest.raises(UserError, match="needs the setting igpo"):
        advantages(VECTOR, CreditConfig(rule="igpo"))
