"""Questions of a step as a function of seed and step; rollouts cut into updates and passes."""

import pytest

from igsearch.config import TrainConfig
from igsearch.errors import UserError
from igsearch.records import Question
from igsearch.training.schedule import Layout, layout, questions_of_step, validation_questions


def questions(count: int, benchmark: str = "nq") -> list[Question]:
    return [Question(str(i), benchmark, f"q{i}", ("a",)) for i in range(count)]


def test_questions_depend_on_seed_and_step_alone() -> None:
    pool = questions(50)
    assert questions_of_step(pool, 1, 3, 8) == questions_of_step(pool, 1, 3, 8)
    assert questions_of_step(pool, 1, 3, 8) != questions_of_step(pool, 1, 4, 8)
    assert questions_of_step(pool, 1, 3, 8) != questions_of_step(pool, 2, 3, 8)


def test_an_epoch_asks_no_question_twice_and_epochs_differ() -> None:
    pool = questions(10)
    first = [question for step in range(3) for question in questions_of_step(pool, 0, step, 3)]
    second = [question for step in range(3, 6) for question in questions_of_step(pool, 0, step, 3)]
    assert len({question.uid for question in first}) == 9
    assert first != second


def test_too_few_questions_are_an_error() -> None:
    with pytest.raises(UserError, match="2 training questions"):
        questions_of_step(questions(2), 0, 0, 3)


@pytest.mark.parametrize(
    ("settings", "processes", "expected"),
    [
        ({}, 1, Layout(96, 1, 1)),
        ({"micro_batch": 8}, 1, Layout(8, 12, 12)),
        ({"micro_batch": 8, "mini_batches": 3}, 1, Layout(8, 4, 12)),
        ({"micro_batch": 8, "mini_batches": 3}, 2, Layout(8, 2, 6)),
    ],
)
def test_layout(settings: dict[str, int], processes: int, expected: Layout) -> None:
    assert layout(TrainConfig(**settings), processes) == expected


@pytest.mark.parametrize(
    ("settings", "processes", "named"),
    [
        ({"micro_batch": 7}, 1, "micro_batch"),
        ({"mini_batches": 7}, 1, "mini_batches"),
        ({}, 5, "prompts_per_step"),
    ],
)
def test_what_does_not_divide_is_named(settings: dict[str, int], processes: int, named: str) -> None:
    with pytest.raises(UserError, match=named):
        layout(TrainConfig(**settings), processes)


def test_validation_is_even_over_benchmarks_and_always_the_same() -> None:
    pool = [*questions(40, "nq"), *questions(40, "musique"), *questions(3, "bamboogle")]
    chosen = validation_questions(pool, 12)
    counts = {name: sum(question.benchmark == name for question in chosen) for name in ("nq", "musique", "bamboogle")}
    assert counts == {"nq": 4, "musique": 5, "bamboogle": 3}
    assert chosen == validation_questions(pool, 12)
    assert len(validation_questions(pool, 500)) == 83
