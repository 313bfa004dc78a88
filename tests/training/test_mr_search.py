"""MR-Search through the trainer: the oracle follows it, and what is logged tells its attempts apart."""

from training_runs import Train

EXACT = 1e-5


def test_two_steps_of_mr_search_are_those_of_the_oracle(train: Train) -> None:
    trained = train("mr_search", steps=2, verify_oracle=True)
    assert [step for step, _ in trained.logged] == [1, 2]
    for _, metrics in trained.logged:
        assert metrics["oracle/loss_difference"] < EXACT
        assert metrics["oracle/gradient_difference"] < EXACT
        assert {f"reward/em_attempt_{n}" for n in (1, 2, 3)} <= metrics.keys()
    assert any(metrics["loss"] != 0 for _, metrics in trained.logged)


def test_validation_answers_with_the_attempts_of_the_method(train: Train) -> None:
    several = train("mr_search", steps=1, validation_questions=4).logged[0][1]
    one = train("grpo", work="one", steps=1, validation_questions=4).logged[0][1]
    assert several["validation/em_attempt_1"] == one["validation/em"]
    assert "validation/em_attempt_4" not in several
    assert not any("attempt" in name for name in one)
