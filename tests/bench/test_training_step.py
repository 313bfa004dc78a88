"""What bench/training_step.py compares is the same: never its time."""

import training_step

TINY = training_step.Shape(16, 1, 2, 16, 40, 4, 4, 1, (3, 6), (2, 5), (2, 4), (1, 3), micro_batch=8)


def test_our_step_is_that_of_stock_trl() -> None:
    inputs = training_step.given(TINY)
    mine, theirs = training_step.ours(inputs), training_step.stock(inputs)
    assert len(mine.losses) == training_step.STEPS + 1
    assert min(theirs.norms) > 1e-3  # there was something to learn
    found = training_step.differences(mine, theirs)
    assert found["loss"] < 1e-6
    assert found["gradient norm"] < 1e-5
    assert found["weight"] < 1e-4


def test_rollouts_have_the_stated_share_without_advantage() -> None:
    episodes = training_step.rollouts(training_step.EMBEDDED, 100)
    right = [[each.prediction == "right" for each in episodes[start : start + 8]] for start in range(0, 96, 8)]
    assert sum(len(set(group)) == 1 for group in right) == training_step.EMBEDDED.uniform
    assert all(len(each.response_ids) == len(each.sampled) == len(each.logprobs) for each in episodes)
    assert all(not each.sampled[turn.start - 1] for each in episodes for turn in each.turns[1:])
