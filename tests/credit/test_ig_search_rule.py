"""The rule of IG-Search: its vectors, each stage alone, and the variant with centring."""

from dataclasses import replace

import pytest
import torch

from igsearch.credit import grpo
from igsearch.credit.batch import CreditBatch, Unit
from igsearch.credit.ig_search import advantages, credited, stabilise
from igsearch.methods import METHODS, CreditConfig, StabiliserConfig

PAPER = METHODS["ig_search"]
SHARED = METHODS["ig_search_shared"]
OFF = StabiliserConfig(dead_zone=None, negative_scale=None, bound=None)


def batch_of(*gains: float | None, uids: str = "", new: tuple[int, ...] = (), width: int = 6) -> CreditBatch:
    """One row per gain, all wrong, with one search at index 0 whose query has `width` tokens after two others."""
    fresh = new or (1,) * len(gains)
    units = tuple((Unit(0, tuple(range(2, 2 + width)), gain, n),) for gain, n in zip(gains, fresh, strict=True))
    mask_BL = torch.ones(len(gains), width + 4).bool()
    return CreditBatch(tuple(uids or "q" * len(gains)), torch.zeros(len(gains)), mask_BL, units)


def values(batch: CreditBatch, config: CreditConfig) -> list[float]:
    return list(credited(batch, config).values())


def with_(config: CreditConfig, **changes: object) -> CreditConfig:
    return config.model_copy(update=changes)


def test_eq4_vector_six_query_tokens() -> None:
    got = advantages(batch_of(1.2, 1.2), PAPER)
    assert got[0].tolist() == pytest.approx([0, 0, *[0.06] * 6, 0, 0])


@pytest.mark.parametrize(
    ("gain", "expected"), [(0.05, 0.0), (-0.05, 0.0), (-1.0, -0.5), (7.0, 3.0), (-9.0, -3.0), (0.1, 0.1)]
)
def test_stabiliser_vectors(gain: float, expected: float) -> None:
    assert stabilise(gain, StabiliserConfig()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("stage", "gain", "expected"),
    [
        ({"dead_zone": 0.1}, 0.05, 0.0),
        ({"negative_scale": 0.5}, -4.0, -2.0),
        ({"bound": 3.0}, -4.0, -3.0),
        ({}, -4.0, -4.0),
    ],
)
def test_stabiliser_stages_are_separate(stage: dict[str, float], gain: float, expected: float) -> None:
    assert stabilise(gain, OFF.model_copy(update=stage)) == expected


def test_without_length_norm_every_query_token_gets_the_whole_bonus() -> None:
    config = with_(PAPER, length_norm=False)
    assert advantages(batch_of(1.2, 1.2), config)[0, 2].item() == pytest.approx(0.36)


def test_unscored_steps_and_empty_queries_get_nothing() -> None:
    assert not advantages(batch_of(None, None), PAPER).any()
    assert not advantages(batch_of(1.0, 1.0, width=0), PAPER).any()


def test_gate_makes_the_gain_of_a_repeated_search_zero_before_centring() -> None:
    config = with_(PAPER, stabiliser=OFF, novelty_gate=True)
    batch = batch_of(1.0, 3.0, new=(1, 0))
    assert values(batch, config) == [1.0, 0.0]
    assert values(batch, with_(config, centre="group_step")) == [0.5, -0.5]


def test_centring_is_over_the_group_at_the_same_search_index() -> None:
    config = with_(PAPER, stabiliser=OFF, centre="group_step")
    batch = batch_of(1.0, 3.0, 10.0, None, uids="aabb")
    assert values(batch, config) == [-1.0, 1.0, 0.0]
    second = Unit(1, (8,), 5.0, 1)
    deeper = replace(batch, units=((batch.units[0][0], second), *batch.units[1:]))
    assert values(deeper, config) == [-1.0, 0.0, 1.0, 0.0]


def test_scale_is_the_batch_deviation_of_the_uncentred_gains() -> None:
    config = with_(PAPER, stabiliser=OFF, centre="group_step", scale="batch_std")
    gains = [1.0, 3.0, 10.0, 12.0]
    spread = torch.tensor(gains).std().item()
    assert values(batch_of(*gains, uids="aabb"), config) == pytest.approx([-1 / spread, 1 / spread] * 2)


def test_a_batch_without_spread_is_not_scaled() -> None:
    config = with_(PAPER, stabiliser=OFF, scale="batch_std")
    assert values(batch_of(0.3, 0.3 + 1e-12, 0.3), config) == pytest.approx([0.3] * 3)
    assert values(batch_of(0.3), config) == [0.3]


def test_shared_variant_adds_half_the_clipped_z_to_every_query_token() -> None:
    got = advantages(batch_of(1.0, -1.0, 0.0, uids="aab"), SHARED)
    assert got[:, 2].tolist() == pytest.approx([0.5, -0.5, 0.0])
    assert got[:, :2].tolist() == [[0, 0]] * 3


def test_a_masked_position_never_gets_a_bonus() -> None:
    batch = batch_of(1.2, 1.2)
    batch.loss_mask_BL[:, 3] = False
    assert advantages(batch, PAPER)[:, 3].tolist() == [0, 0]


def test_z_score_within_the_group_at_the_search_index() -> None:
    """A2TGPO's normalisation: each question's first searches have mean 0 and standard deviation 1."""
    config = with_(PAPER, stabiliser=OFF, centre="group_step", scale="group_step_std")
    batch = batch_of(1.0, 3.0, 10.0, 30.0, 7.0, uids="aabbc")
    half = 0.5**0.5
    assert values(batch, config) == pytest.approx([-half, half, -half, half, 0.0])


def test_a_group_of_equal_gains_is_not_scaled() -> None:
    config = with_(PAPER, stabiliser=OFF, scale="group_step_std")
    assert values(batch_of(0.3, 0.3, uids="aa"), config) == [0.3, 0.3]


def with_thoughts(batch: CreditBatch, think: tuple[int, ...] = (0, 1)) -> CreditBatch:
    return replace(batch, units=tuple(tuple(replace(unit, think=think) for unit in row) for row in batch.units))


def test_thoughts_share_the_bonus_where_it_is_routed_to_them() -> None:
    routed = with_(PAPER, route="query_and_think")
    got = advantages(with_thoughts(batch_of(1.2, 1.2)), routed)
    assert got[0].tolist() == pytest.approx([*[0.045] * 8, 0, 0])
    assert got[0].sum().item() == pytest.approx(0.36)
    whole = advantages(with_thoughts(batch_of(1.2, 1.2)), with_(routed, length_norm=False))
    assert whole[0, :8].tolist() == pytest.approx([0.36] * 8)


def test_thoughts_get_nothing_by_default_and_silent_turns_lose_nothing() -> None:
    assert torch.equal(advantages(with_thoughts(batch_of(1.2, 1.2)), PAPER), advantages(batch_of(1.2, 1.2), PAPER))
    routed = with_(PAPER, route="query_and_think")
    assert torch.equal(advantages(batch_of(1.2, 1.2), routed), advantages(batch_of(1.2, 1.2), PAPER))


def test_uniform_groups_alone_get_the_bonus() -> None:
    """Of the mixed group nothing is left but GRPO's advantage; a failed retriever does not make a group mixed."""
    batch = batch_of(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, uids="aabbcc")
    batch.reward_B[:] = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0, float("nan")])
    got = advantages(batch, with_(PAPER, bonus_groups="uniform"))
    assert torch.equal(got[:2], grpo.advantages(batch, PAPER)[:2])
    assert torch.equal(got[2:5], advantages(batch, PAPER)[2:5])
    assert got[2:5, 2].tolist() == pytest.approx([0.05] * 3)
