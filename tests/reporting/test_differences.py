"""The ablation table: what is compared with what, and that pairing is by seed."""

import pytest
from made_results import evaluation

from igsearch.evaluation.statistics import student
from igsearch.evaluation.store import Evaluation
from igsearch.reporting.differences import base_of, difference_table, differences
from igsearch.reporting.results import MethodResult, group, macro_mean

BASES = ("grpo", "ig_search", "ig_search_shared")


@pytest.mark.parametrize(
    ("method", "bases"),
    [
        ("ig_search_n1", ["ig_search"]),
        ("ig_search_shared_n3", ["ig_search_shared"]),
        ("rloo", ["grpo"]),
        ("grpo", []),
        ("ig_search", ["grpo"]),
        ("ig_search_shared", ["grpo", "ig_search"]),
    ],
)
def test_a_preset_is_compared_with_the_form_that_it_changes(method: str, bases: list[str]) -> None:
    assert base_of(method, BASES) == bases


def results() -> list[MethodResult]:
    made = [evaluation("grpo", seed, skill) for seed, skill in enumerate((0.5, 0.7, 0.9))]
    made += [evaluation("rloo", seed, skill) for seed, skill in enumerate((0.6, 0.8, 0.95))]
    return group([*made, evaluation("warm_start", None, 0.3)])


def em_of(each: Evaluation) -> float:
    return float(macro_mean("em")(each.records) or 0.0)


def test_runs_are_paired_by_seed() -> None:
    (found,) = differences(results(), ("grpo",))
    grpo, rloo = (next(r for r in results() if r.method == name) for name in ("grpo", "rloo"))
    expected = [em_of(a) - em_of(b) for a, b in zip(rloo.evaluations, grpo.evaluations, strict=True)]
    assert found.by_seed == pytest.approx(tuple(expected))
    assert found.over_seeds == pytest.approx(student(expected))
    low, high = found.over_questions
    assert low < found.mean < high


def test_only_common_seeds_are_compared() -> None:
    made = [
        evaluation("grpo", 0, 0.5),
        evaluation("grpo", 1, 0.5),
        evaluation("rloo", 1, 0.9),
        evaluation("rloo", 2, 0.9),
    ]
    (found,) = differences(group(made), ("grpo",))
    assert len(found.by_seed) == 1
    assert found.over_seeds is None


def test_the_interval_over_three_seeds_is_students() -> None:
    low, high = student([0.0, 0.1, 0.2]) or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(0.1)
    assert high - low == pytest.approx(2 * 4.302653 * 0.1 / 3**0.5, rel=1e-5)
    assert student([0.3]) is None


def test_without_bases_there_is_no_table() -> None:
    assert difference_table(results(), (), "t") is None
    table = difference_table(results(), ("grpo",), "t")
    assert table
    assert table.rows[0][:3] == ("rloo", "grpo", "3")
