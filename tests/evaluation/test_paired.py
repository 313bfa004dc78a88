"""Two evaluations, question by question."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from igsearch.evaluation.paired import compare, pairs
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
    of = compare(pairs(first, second), "em")["nq"]
    assert (of.n, of.first, of.second, of.difference) == (40, 0.5, 0.75, pytest.approx(0.25))
    assert 0.1 < of.low < 0.25 < of.high < 0.41


def test_swapping_the_runs_mirrors_difference_and_interval(made: Make) -> None:
    first = [made(i, f1=i / 40) for i in range(40)]
    second = [made(i, f1=(i % 7) / 7) for i in range(40)]
    there, back = (compare(pairs(*order), "f1")["nq"] for order in ((first, second), (second, first)))
    assert there.difference == pytest.approx(-back.difference)
    assert there.low == pytest.approx(-back.high, abs=0.03)


def test_equal_runs_differ_by_exactly_nothing(made: Make) -> None:
    records = [made(i, em=float(i % 3 == 0)) for i in range(30)]
    of = compare(pairs(records, records), "em")
    assert (of["nq"].difference, of["nq"].low, of["nq"].high) == (0.0, 0.0, 0.0)


def test_a_pair_is_narrower_than_two_independent_means(made: Make) -> None:
    """Right and wrong questions are shared, so their variance leaves the difference."""
    first = [made(i, em=float(i % 2)) for i in range(100)]
    second = [replace(record, em=1.0) if i < 4 else record for i, record in enumerate(first)]
    of = compare(pairs(first, second), "em")["nq"]
    assert of.high - of.low < 0.08


def test_the_average_weighs_benchmarks_not_questions(made: Make) -> None:
    first = [*(made(i, em=0.0) for i in range(30)), *(made(i, "popqa", em=0.0) for i in range(10))]
    second = [*(made(i, em=1.0) for i in range(30)), *(made(i, "popqa", em=0.0) for i in range(10))]
    of = compare(pairs(first, second), "em")
    assert list(of) == ["nq", "popqa", "average"]
    assert (of["average"].n, of["average"].difference) == (40, pytest.approx(0.5))
