"""CW-GRPO: a success goes to the rounds that contributed, a failure to all; with the edge cases of the weights."""

import math
from collections.abc import Sequence

import pytest
import torch

from igsearch.credit import grpo
from igsearch.credit.batch import CreditBatch, TurnUnit, Unit
from igsearch.credit.cw_grpo import advantages, weights
from igsearch.methods import METHODS, CwGrpoConfig

CONFIG = METHODS["cw_grpo"]
WIDTH = 3


def batch_of(
    rewards: Sequence[float], evidence: Sequence[Sequence[float | None]], uids: str = "", wasted: bool = False
) -> CreditBatch:
    """Rollouts with a round of three tokens for each entry, perhaps a turn without action, and a turn that answers."""
    length = (max(map(len, evidence)) + 2) * WIDTH
    units, turns = [], []
    for row in evidence:
        units.append(tuple(Unit(index, (), reward=value) for index, value in enumerate(row)))
        steps = [*range(len(row)), *([None] if wasted else []), None]
        turns.append(
            tuple(
                TurnUnit(tuple(range(place * WIDTH, (place + 1) * WIDTH)), step=step, valid=step is not None)
                for place, step in enumerate(steps)
            )
        )
    mask_BL = torch.zeros(len(rewards), length).bool()
    for row, (of_row, _) in enumerate(zip(turns, rewards, strict=True)):
        mask_BL[row, : len(of_row) * WIDTH] = True
    return CreditBatch(tuple(uids or "q" * len(rewards)), torch.tensor(rewards), mask_BL, tuple(units), tuple(turns))


def by_turn(batch: CreditBatch, row: int) -> list[float]:
    """The advantage of each turn of a row, as a multiple of the rollout's."""
    got, plain = advantages(batch, CONFIG)[row], grpo.advantages(batch, CONFIG)[row]
    ratios = [got[list(turn.positions)] / plain[list(turn.positions)] for turn in batch.turns[row]]
    assert all(ratio.std() == 0 for ratio in ratios)
    return [ratio[0].item() for ratio in ratios]


def test_success_goes_to_the_rounds_with_evidence_and_their_mean_stays_1() -> None:
    batch = batch_of([1.0, 0.0], [[1, 0, 1, 0], [1]])
    assert by_turn(batch, 0) == pytest.approx([2, 0, 2, 0, 1])


def test_failure_keeps_the_advantage_everywhere() -> None:
    batch = batch_of([1.0, 0.0], [[1], [1, 0]])
    assert by_turn(batch, 1) == [1, 1, 1]


def test_the_answer_and_turns_without_action_keep_the_advantage() -> None:
    assert by_turn(batch_of([1.0, 0.0], [[1, 0], [0]], wasted=True), 0) == pytest.approx([2, 0, 1, 1])


def test_without_any_evidence_the_searches_are_silent() -> None:
    assert by_turn(batch_of([1.0, 0.0], [[0, 0], [0]]), 0) == [0, 0, 1]


def test_a_success_without_a_search_keeps_the_advantage() -> None:
    assert by_turn(batch_of([1.0, 0.0], [[], [0]]), 0) == [1]


@pytest.mark.parametrize(
    ("contributions", "gamma", "expected"),
    [
        ([1, 0, 1], None, [0.5, 0, 0.5]),
        ([0.5, 0.25], None, [2 / 3, 1 / 3]),
        ([0, 0], None, [0, 0]),
        ([0, 0], 2.0, [0.5, 0.5]),
        ([1, 0], 1.0, [math.e / (1 + math.e), 1 / (1 + math.e)]),
        ([1, 0], 2000.0, [1, 0]),
        ([], None, []),
        ([], 1.0, []),
    ],
)
def test_weights(contributions: list[float], gamma: float | None, expected: list[float]) -> None:
    assert weights(contributions, gamma) == pytest.approx(expected)


def test_no_weight_is_lost_to_a_large_gamma() -> None:
    assert weights([0, 0], 2000.0) == pytest.approx([0.5, 0.5])


def test_uniform_groups_get_nothing() -> None:
    assert not advantages(batch_of([1.0, 1.0], [[1, 0], [0]]), CONFIG).any()


def test_neither_order_nor_padding_nor_other_groups_change_a_row() -> None:
    rewards, evidence = [1.0, 0.0, 0.0, 1.0], [[1, 0], [1], [0, 0, 1], []]
    alone = advantages(batch_of(rewards[:2], evidence[:2]), CONFIG)
    order = [2, 1, 3, 0]
    mixed = advantages(
        batch_of([rewards[i] for i in order], [evidence[i] for i in order], "".join("aabb"[i] for i in order)), CONFIG
    )
    for i in (0, 1):
        row = mixed[order.index(i)]
        assert row[: alone.shape[1]].tolist() == alone[i].tolist()
        assert not row[alone.shape[1] :].any()


def test_masked_tokens_get_zero_and_failed_rollouts_nothing() -> None:
    batch = batch_of([1.0, 0.0, math.nan], [[1, 0], [0], [None]])
    batch.loss_mask_BL[0, 1] = False
    got = advantages(batch, CONFIG)
    assert got[0, 1] == 0
    assert not got[~batch.loss_mask_BL].any()
    assert not got[2].any()
    assert (
        got[:2].tolist()
        == advantages(batch_of([1.0, 0.0], [[1, 0], [0]]), CONFIG).where(batch.loss_mask_BL[:2], 0.0).tolist()
    )


def test_softmax_is_a_setting() -> None:
    batch = batch_of([1.0, 0.0], [[1, 0], [0]])
    soft = CONFIG.model_copy(update={"cw_grpo": CwGrpoConfig(gamma=1.0)})
    ratio = advantages(batch, soft)[0, 0] / grpo.advantages(batch, soft)[0, 0]
    assert ratio.item() == pytest.approx(2 * math.e / (1 + math.e))
