"""The share of the advantages that the steps bring."""

import pytest
import torch

from igsearch.credit.mass import step_mass

OUTCOME = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0], [0.0, 0.0]])
UIDS = ("mixed", "mixed", "uniform", "uniform")


def shares(step_BL: torch.Tensor) -> tuple[float, float]:
    figures = step_mass(UIDS, OUTCOME + step_BL, OUTCOME)
    return figures["credit/step_share"], figures["credit/step_share_uniform_groups"]


def test_without_a_step_signal_all_mass_is_the_outcomes() -> None:
    assert shares(torch.zeros(4, 2)) == (0.0, 0.0)


def test_a_bonus_of_the_size_of_the_outcome_is_half_the_mass() -> None:
    step_BL = torch.tensor([[2.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    assert shares(step_BL) == pytest.approx((0.5, 0.25))


def test_a_bonus_that_cancels_the_outcome_counts_as_mass() -> None:
    assert shares(-OUTCOME) == pytest.approx((0.5, 0.0))


def test_a_batch_of_failures_lives_on_the_step_signal_alone() -> None:
    step_BL = torch.tensor([[0.0, 0.5], [0.0, 0.0]])
    figures = step_mass(("a", "a"), step_BL, torch.zeros(2, 2))
    assert list(figures.values()) == [1.0, 1.0]


def test_a_row_of_zero_advantage_in_a_mixed_group_is_not_uniform() -> None:
    outcome = torch.tensor([[0.0], [1.0], [-1.0]])
    figures = step_mass(("a", "a", "a"), outcome + torch.tensor([[1.0], [0.0], [0.0]]), outcome)
    assert figures["credit/step_share_uniform_groups"] == 0.0


def test_nothing_at_all_is_no_division_by_zero() -> None:
    assert list(step_mass(("a",), torch.zeros(1, 1), torch.zeros(1, 1)).values()) == [0.0, 0.0]
