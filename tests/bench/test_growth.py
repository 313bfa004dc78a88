"""Figures over synthetic questions are the known ones, whichever stage gives them."""

from pathlib import Path

import growth
import growth_work
import pytest


def test_score_evaluation_and_tables_agree_with_what_is_known(tmp_path: Path) -> None:
    assert growth_work.largest_difference(tmp_path, 60) < 1e-6  # figures are printed with six digits


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_slope_of_a_power_is_its_exponent(power: float) -> None:
    sizes = (10.0, 100.0, 1000.0)
    assert growth.slope(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)
