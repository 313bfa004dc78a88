"""The table of differences: what is compared with what, that pairing is by seed, and what a verdict rests on."""

import pytest
from made_results import evaluation

from igsearch.evaluation.referee import MACRO, MICRO, holm
from igsearch.evaluation.store import Evaluation
from igsearch.reporting.differences import base_of, difference_tables, differences, p_cell, points
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
    assert base_of(method, (), BASES) == bases


def test_without_bases_the_first_method_is_the_base_of_all_others() -> None:
    methods = ("grpo", "rloo", "grpo_n2")
    assert [base_of(method, methods, ()) for method in methods] == [[], ["grpo"], ["grpo"]]


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
    assert (found.method, found.base, found.seeds) == ("rloo", "grpo", 3)
    assert found.estimate("em").by_seed == pytest.approx(tuple(expected))
    assert found.estimate("em").decides.low < found.estimate("em").mean < found.estimate("em").decides.high


def test_only_common_seeds_are_compared() -> None:
    made = [
        evaluation("grpo", 0, 0.5),
        evaluation("grpo", 1, 0.5),
        evaluation("rloo", 1, 0.9),
        evaluation("rloo", 2, 0.9),
    ]
    (found,) = differences(group(made), ("grpo",))
    assert found.seeds == 1
    assert found.estimate("em").methods is None


def test_methods_without_a_common_seed_have_no_difference() -> None:
    made = [evaluation("grpo", 0, 0.5), evaluation("grpo", 1, 0.5), evaluation("rloo", 2, 0.9)]
    assert differences(group(made), ()) == []


def test_every_benchmark_of_two_methods_has_the_table_and_one_method_has_none() -> None:
    tables = difference_tables(results(), (), "{} (synthetic data)")
    assert [table.title for table in tables] == [
        "Differences in EM, macro average (synthetic data)",
        "Differences in F1, macro average (synthetic data)",
        "Differences in EM by benchmark (synthetic data)",
        "Differences in F1 by benchmark (synthetic data)",
    ]
    assert tables[0].rows[0][:3] == ("rloo", "grpo", "3")
    assert difference_tables(group([evaluation("grpo", 0, 0.5), evaluation("warm_start", None, 0.1)]), (), "{}") == []


def test_a_row_says_points_interval_p_holm_verdict_and_seed_deviation() -> None:
    made = [evaluation(name, seed, skill) for name, skill in (("a", 0.2), ("b", 0.9), ("c", 0.22)) for seed in range(4)]
    em, *_ = difference_tables(group(made), (), "{}")
    of = {row["method"]: row for row in em.data if row["figure"] == MACRO}
    found = {each.method: each.estimate("em") for each in differences(group(made), ())}
    assert [of[name]["p_holm"] for name in "bc"] == holm([found[name].decides.p for name in "bc"])
    assert (of["b"]["verdict"], of["c"]["verdict"]) == ("b", "tie")
    assert of["b"]["points"] == pytest.approx(100 * found["b"].mean)
    assert of["b"]["seed_sd"] == pytest.approx(100 * (found["b"].seed_sd or 0))
    assert {row["verdict"] for row in em.data if row["figure"] == MICRO} == {None}
    assert [row[7] for row in em.rows] == ["b", "tie"]


def test_a_verdict_on_fewer_than_three_seeds_says_that_it_is_of_these_models() -> None:
    made = [evaluation(name, seed, skill) for name, skill in (("a", 0.2), ("b", 0.9)) for seed in range(2)]
    em, *_ = difference_tables(group(made), (), "{}")
    assert em.rows[0][7] == "b (these models)"
    assert "other seeds may say otherwise" in em.notes[0]
    assert em.data[0]["claim"] == "trained models"


def test_the_table_by_benchmark_corrects_over_all_its_cells() -> None:
    made = [evaluation(name, seed, skill) for name, skill in (("a", 0.2), ("b", 0.9)) for seed in range(3)]
    *_, em, _ = difference_tables(group(made), (), "{}")
    plain = [row["p"] for row in em.data]
    assert len(plain) == 7
    assert [row["p_holm"] for row in em.data] == holm(plain)
    assert sum(cell.endswith(" *") for cell in em.rows[0]) == sum(p < 0.05 for p in holm(plain)) > 0


def test_figures_have_one_form() -> None:
    assert [points(value) for value in (0.0137, -0.0001, -0.2)] == ["+1.4", "+0.0", "-20.0"]
    assert [p_cell(value) for value in (0.0004, 0.0211, 1.0)] == ["<.001", ".021", "1.000"]
