"""GiGPO: its vector, both ways of normalising and of counting, states by similarity, and the invariants."""

import math
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import permutations

import pytest
import torch

from igsearch.credit import gigpo
from igsearch.credit.batch import CreditBatch, TurnUnit
from igsearch.credit.gigpo import advantages, states
from igsearch.methods import METHODS, CreditConfig, GigpoConfig

STD = METHODS["gigpo"]
MEAN = STD.model_copy(update={"normalise_std": False})
WIDTH = 3  # tokens of a turn; one injected token follows each


def with_(config: CreditConfig, **changes: object) -> CreditConfig:
    return config.model_copy(update={"gigpo": (config.gigpo or GigpoConfig()).model_copy(update=changes)})


def batch_of(
    rewards: Sequence[float], anchors: Sequence[str], uids: str = "", invalid: Sequence[tuple[int, int]] = ()
) -> CreditBatch:
    """Rollouts whose turns were written in the states that their letters name."""
    length = max(map(len, anchors)) * (WIDTH + 1)
    mask_BL = torch.zeros(len(rewards), length).bool()
    rows = []
    for row, letters in enumerate(anchors):
        starts = range(0, len(letters) * (WIDTH + 1), WIDTH + 1)
        for start in starts:
            mask_BL[row, start : start + WIDTH] = True
        rows.append(
            tuple(
                TurnUnit(tuple(range(start, start + WIDTH)), anchor=letter, valid=(row, place) not in invalid)
                for place, (start, letter) in enumerate(zip(starts, letters, strict=True))
            )
        )
    return CreditBatch(tuple(uids or "q" * len(rewards)), torch.tensor(rewards), mask_BL, turns=tuple(rows))


def of_turns(batch: CreditBatch, config: CreditConfig) -> list[list[float]]:
    """The advantage of each turn, which all its tokens must share."""
    got = advantages(batch, config)
    values = [[got[row, list(turn.positions)] for turn in turns] for row, turns in enumerate(batch.turns)]
    assert all(len(set(value.tolist())) == 1 for row in values for value in row)
    return [[value[0].item() for value in row] for row in values]


@pytest.mark.parametrize("over_turns", [True, False])
def test_vector_of_two_rollouts_that_share_their_first_state(over_turns: bool) -> None:
    batch = batch_of([1.0, 0.0], ["qa", "qb"])
    config = with_(MEAN, statistics_over_turns=over_turns)
    assert of_turns(batch, with_(config, omega=0.0)) == [[0.5, 0.5], [-0.5, -0.5]]
    assert of_turns(batch, config) == [
        pytest.approx([0.5 + 0.475, 0.5]),
        pytest.approx([-0.5 - 0.475, -0.5]),
    ]


def test_mean_std_norm_divides_both_parts_by_their_own_deviation() -> None:
    got = of_turns(batch_of([1.0, 0.0], ["qa", "qb"]), STD)
    episode, step = 0.5 / torch.tensor([1.0, 1, 0, 0]).std().item(), 0.5**0.5
    assert got == [
        pytest.approx([episode + step, episode], abs=1e-5),
        pytest.approx([-episode - step, -episode], abs=1e-5),
    ]


def test_statistics_are_over_turns_or_over_rollouts() -> None:
    batch = batch_of([1.0, 0.0], ["qab", "q"])
    config = with_(MEAN, omega=0.0)
    assert of_turns(batch, config) == [[0.25] * 3, [-0.75]]
    assert of_turns(batch, with_(config, statistics_over_turns=False)) == [[0.5] * 3, [-0.5]]


def test_return_is_discounted_by_the_turns_that_follow() -> None:
    got = of_turns(batch_of([1.0, 0.0], ["qab", "qab"]), with_(MEAN, omega=1.0))
    assert [value - 0.5 for value in got[0]] == pytest.approx([0.95**2 / 2, 0.95 / 2, 0.5])


def test_one_state_can_hold_turns_of_different_depth() -> None:
    got = of_turns(batch_of([1.0, 0.0], ["qa", "aq"]), MEAN)
    assert got[0] == pytest.approx([0.5 + 0.475, 0.5 + 0.5])
    assert got[1] == pytest.approx([-0.5 - 0.5, -0.5 - 0.475])


def test_invalid_turn_pays_the_penalty_alone() -> None:
    got = of_turns(batch_of([0.0, 0.0], ["qa", "qb"], invalid=[(0, 0)]), MEAN)
    assert got[0][0] == pytest.approx(-0.0075 - 0.005)
    assert got[0][1] == pytest.approx(0.0025)
    assert got[1] == pytest.approx([0.0025 + 0.005, 0.0025])


def test_penalty_without_spread_is_not_blown_up() -> None:
    """The first turns agree, so that their deviation is 0: the original divides the penalty by 1e-6."""
    batch = batch_of([0.0, 0.0], ["qa", "qb"], invalid=[(0, 1)])
    got = of_turns(batch, with_(STD, statistics_over_turns=False))
    assert got == [pytest.approx([0, -0.01]), pytest.approx([0, 0])]


@pytest.mark.parametrize("config", [STD, MEAN])
@pytest.mark.parametrize("reward", [0.0, 1.0, 1 / 3])
def test_equal_rewards_of_equal_depth_give_exactly_zero(config: CreditConfig, reward: float) -> None:
    assert not advantages(batch_of([reward] * 3, ["qa", "qb", "qc"]), config).any()


def test_a_shorter_way_to_the_same_success_is_better_at_the_shared_state() -> None:
    got = of_turns(batch_of([1.0, 1.0], ["qa", "q"]), MEAN)
    assert got == [pytest.approx([-0.025, 0.0], abs=1e-6), pytest.approx([0.025], abs=1e-6)]


def test_a_question_with_a_single_turn_keeps_its_reward() -> None:
    assert of_turns(batch_of([0.7], ["q"]), MEAN) == [pytest.approx([0.7])]


def test_states_are_joined_in_order_to_the_first_member_that_is_alike() -> None:
    base = "x" * 10
    near, far = "x" * 9 + "y", "x" * 8 + "yy"  # near is as alike to both; far is not to base
    assert states([base, near, far], 0.9) == [[0, 1], [2]]
    assert states([near, base, far], 0.9) == [[0, 1, 2]]
    assert states([base, near, base, far, near], None) == [[0, 2], [1, 4], [3]]


def test_the_order_of_a_group_matters_to_states_of_like_texts_and_not_to_those_of_equal_ones() -> None:
    texts = ["x" * 10, "x" * 9 + "y", "x" * 8 + "yy", "x" * 10]

    def found(order: tuple[int, ...], similarity: float | None) -> set[frozenset[int]]:
        return {frozenset(order[i] for i in state) for state in states([texts[i] for i in order], similarity)}

    assert len({frozenset(found(order, None)) for order in permutations(range(4))}) == 1
    assert found((0, 1, 2, 3), 0.9) == {frozenset({0, 1, 3}), frozenset({2})}
    assert found((1, 0, 2, 3), 0.9) == {frozenset({0, 1, 2, 3})}


def test_the_first_member_of_a_state_is_indexed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what each comparison would else begin with."""
    indexed: list[str] = []

    class Counting(SequenceMatcher[str]):
        def set_seq2(self, b: Sequence[str]) -> None:
            indexed.append(str(b))
            super().set_seq2(b)

    monkeypatch.setattr(gigpo, "SequenceMatcher", Counting)
    texts = [f"{name} {number}" * 5 for number in range(4) for name in ("karvik", "torras", "karvik was")]
    assert indexed == [texts[state[0]] for state in states(texts, 0.5)]
    assert indexed


def test_no_character_is_junk() -> None:
    """By default difflib ignores the frequent characters of texts of 200 and more."""
    a, b = "ab" * 150, "ab" * 140 + "cd" * 10
    assert states([a, b], 0.9) == [[0, 1]]
    assert SequenceMatcher(None, a, "cd" * 10 + "ab" * 140, autojunk=True).ratio() < 0.9
    assert states([a, "cd" * 10 + "ab" * 140], 0.9) == [[0, 1]]


def test_the_fast_bounds_decide_as_the_ratio_does() -> None:
    texts = ["karvik was born in meldon", "karvik was born in melras", "torras was born in meldon", "meldon", ""]
    for threshold in (0.5, 0.7, 0.9):
        for a in texts:
            for b in texts:
                alike = SequenceMatcher(None, b, a, autojunk=False).ratio() >= threshold
                assert (len(states([a, b], threshold)) == 1) == alike


@pytest.mark.parametrize("config", [STD, MEAN, with_(STD, statistics_over_turns=False, similarity=None)])
def test_neither_order_nor_padding_nor_other_groups_change_a_row(config: CreditConfig) -> None:
    rewards, anchors = [1.0, 0.0, 0.5, 0.0, 1.0], ["qab", "qa", "qc", "qa", "qab"]
    alone = of_turns(batch_of(rewards[:3], anchors[:3]), config)
    order = [4, 2, 0, 3, 1]
    mixed = batch_of([rewards[i] for i in order], [anchors[i] for i in order], "".join("aaabb"[i] for i in order))
    got = of_turns(mixed, config)
    assert [got[order.index(i)] for i in range(3)] == [pytest.approx(row, abs=1e-6) for row in alone]


def test_masked_tokens_get_zero() -> None:
    batch = batch_of([1.0, 0.0], ["qa", "qb"])
    batch.loss_mask_BL[0, 1] = False
    got = advantages(batch, STD)
    assert not got[~batch.loss_mask_BL].any()
    assert got[batch.loss_mask_BL].all()


def test_a_rollout_without_a_reward_is_in_no_statistic_and_no_state() -> None:
    two = of_turns(batch_of([1.0, 0.0], ["qa", "qb"]), STD)
    three = of_turns(batch_of([1.0, math.nan, 0.0], ["qa", "qa", "qb"]), STD)
    assert three == [two[0], [0.0, 0.0], two[1]]
    assert not advantages(batch_of([1.0, math.nan], ["qq", "qq"]), STD).any()


def test_a_lone_invalid_turn_among_equals_weighs_as_much_as_a_failure() -> None:
    """The small penalty is the whole spread of its group, and the division blows it up."""
    batch = batch_of([0.0] * 8, ["qab"] * 8, invalid=[(0, 0)])
    assert of_turns(batch, with_(STD, omega=0.0))[0][0] == pytest.approx(-4.7, abs=0.01)
    assert of_turns(batch, with_(MEAN, omega=0.0))[0][0] == pytest.approx(-0.01, abs=1e-3)
