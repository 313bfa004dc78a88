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


def curve(beyond: list[float]) -> growth.Curve:
    return growth.Curve("score", "CPU seconds", 0.3, (10, 100, 1000), tuple(beyond))


def test_a_stage_that_grows_faster_than_linear_is_missed() -> None:
    assert curve([1.0, 10.0, 100.0]).verdict == "exponent 1.00 OK"
    assert curve([1.0, 100.0, 10000.0]).verdict == "exponent 2.00 MISSED"


def test_what_is_taken_once_hides_in_the_exponent_and_less_at_the_last_sizes() -> None:
    """3 seconds once and a hundredth each: linear, though the fit over all sizes says less."""
    grown = curve([3.1, 4.0, 13.0])
    assert (grown.exponent, grown.last) == (pytest.approx(0.31, abs=0.01), pytest.approx(0.51, abs=0.01))
    assert curve([1.1, 20.0, 1010.0]).last == pytest.approx(1.70, abs=0.01)


def test_sizes_that_take_next_to_nothing_give_no_exponent() -> None:
    assert curve([0.01, 0.02, 5.0]).exponent is None
    assert curve([0.001, 0.5, 5.0]).exponent == pytest.approx(1.0)
    assert curve([0.0, -0.01, 0.02]).verdict == "no exponent, at most 0.0 CPU seconds beyond the constant part"


def test_questions_are_about_passages_in_turn() -> None:
    """A cache of searches would hide the work on questions asked twice."""
    asked = list(growth_work.synthetic.queries(30, 20))
    assert len(set(asked[:20])) == 20
    assert asked[20:] == asked[:10]
