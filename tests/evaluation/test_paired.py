"""Two evaluations, question by question."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from made_results import evaluation

from igsearch.evaluation.paired import compare, matched, paired_runs, pairs
from igsearch.evaluation.referee import MACRO, MICRO
from igsearch.evaluation.store import Evaluation
from igsearch.records import EndReason, QuestionRecord

Make = Callable[..., QuestionRecord]


def test_only_common_questions_whose_retriever_worked_for_both_are_paired(made: Make) -> None:
    first = [made(0), made(1), made(2, end=EndReason.RETRIEVER_FAILED)]
    second = [made(2), made(1, em=0.0), made(3)]
    found = pairs(first, second)
    assert [(a.uid, b.uid, a.em - b.em) for a, b in found] == [("nq/1", "nq/1", 1.0)]


def test_another_question_of_the_same_number_is_no_common_question(made: Make) -> None:
    """Benchmark files of other data number their questions alike."""
    asked = [made(0), made(1)]
    assert [a.uid for a, _ in pairs(asked, [made(0), made(1, question="another one")])] == ["nq/0"]


def test_the_difference_is_that_of_the_means_and_lies_in_its_interval(made: Make) -> None:
    first = [made(i, em=float(i % 2)) for i in range(40)]
    second = [made(i, em=float(i % 4 != 0)) for i in range(40)]
    of = compare([pairs(first, second)], "em")["nq"]
    assert (of.difference.questions, of.first, of.second) == (40, 0.5, 0.75)
    assert of.difference.mean == pytest.approx(0.25)
    assert 0.1 < of.difference.models.low < 0.25 < of.difference.models.high < 0.41


def test_swapping_the_runs_mirrors_difference_and_interval(made: Make) -> None:
    first = [made(i, f1=i / 40) for i in range(40)]
    second = [made(i, f1=(i % 7) / 7) for i in range(40)]
    orders = ((first, second), (second, first))
    there, back = (compare([pairs(*order)], "f1")["nq"].difference for order in orders)
    assert there.mean == pytest.approx(-back.mean)
    assert there.models.low == pytest.approx(-back.models.high, abs=0.03)
    assert there.models.p == back.models.p


def test_equal_runs_differ_by_exactly_nothing(made: Make) -> None:
    records = [made(i, em=float(i % 3 == 0)) for i in range(30)]
    of = compare([pairs(records, records)], "em")["nq"].difference
    assert (of.mean, of.models.low, of.models.high, of.models.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_pair_is_narrower_than_two_independent_means(made: Make) -> None:
    """Right and wrong questions are shared, so their variance leaves the difference."""
    first = [made(i, em=float(i % 2)) for i in range(100)]
    second = [replace(record, em=1.0) if i < 4 else record for i, record in enumerate(first)]
    of = compare([pairs(first, second)], "em")["nq"].difference.models
    assert of.high - of.low < 0.08


def test_the_macro_average_weighs_benchmarks_and_the_micro_average_questions(made: Make) -> None:
    first = [*(made(i, em=0.0) for i in range(30)), *(made(i, "popqa", em=0.0) for i in range(10))]
    second = [*(made(i, em=1.0) for i in range(30)), *(made(i, "popqa", em=0.0) for i in range(10))]
    of = compare([pairs(first, second)], "em")
    assert list(of) == ["nq", "popqa", MACRO, MICRO]
    assert (of[MACRO].difference.questions, of[MACRO].difference.mean) == (40, pytest.approx(0.5))
    assert (of[MICRO].first, of[MICRO].difference.mean) == (0.0, pytest.approx(0.75))


def test_trained_models_are_paired_by_seed_and_a_single_policy_with_every_seed() -> None:
    grpo, other = ([evaluation(name, seed, 0.5) for seed in seeds] for name, seeds in (("a", (2, 0, 1)), ("b", (1, 2))))
    warm = [evaluation("warm_start", None, 0.3)]

    def seeds_of(first: list[Evaluation], second: list[Evaluation]) -> list[tuple[int | None, int | None]]:
        return [(a.subject.seed, b.subject.seed) for a, b in paired_runs(first, second)]

    assert seeds_of(grpo, other) == [(1, 1), (2, 2)]
    assert seeds_of(warm, grpo) == [(None, 0), (None, 1), (None, 2)]
    assert seeds_of(grpo, warm) == [(0, None), (1, None), (2, None)]
    assert seeds_of(grpo[:1], other[:1]) == [(2, 1)]
    assert seeds_of(grpo[1:2], other) == []


def test_a_question_whose_retriever_failed_for_one_seed_leaves_all_of_them() -> None:
    runs = [(evaluation("a", seed, 0.5), evaluation("b", seed, 0.5)) for seed in range(3)]
    failed = replace(runs[1][0].records[5], end=EndReason.RETRIEVER_FAILED)
    cut = replace(runs[1][0], records=(*runs[1][0].records[:5], failed, *runs[1][0].records[6:]))
    found = matched([runs[0], (cut, runs[1][1]), runs[2]])
    assert [len(of) for of in found] == [len(runs[0][0].records) - 1] * 3
    assert all([a.uid for a, _ in of] == [a.uid for a, _ in found[0]] for of in found)


def test_seeds_enter_the_interval_where_there_are_three() -> None:
    runs = [(evaluation("a", seed, 0.5 + 0.1 * seed), evaluation("b", seed, 0.6)) for seed in range(3)]
    of = compare(matched(runs), "em")[MACRO].difference
    assert of.methods
    assert of.methods.high - of.methods.low > 2 * (of.models.high - of.models.low)
    assert of.seed_sd
    assert compare(matched(runs[:2]), "em")[MACRO].difference.methods is None


def test_no_interval_leaves_what_differences_of_scores_can_be(made: Make) -> None:
    """Three seeds of which one collapses: the t interval alone would reach from -1.8 to 1.1."""
    right, wrong = ([made(i, em=em, f1=em, searches=int(9 * em)) for i in range(20)] for em in (1.0, 0.0))
    found = [pairs(right, of) for of in (right, wrong, right)]
    of = compare(found, "em")["nq"].difference
    assert of.methods
    assert of.methods.low == -1.0
    effort = compare(found, "searches")["nq"].difference.methods
    assert effort
    assert effort.low < -9
