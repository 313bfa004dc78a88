"""What bench/scorer.py compares is the same, and the tokens it counts are those of the inputs: never its time."""

from dataclasses import replace

import scorer

SMALL = replace(scorer.EMBEDDED, rollouts=4, group=2, steps=2)


def test_all_layouts_give_the_same_log_probabilities() -> None:
    policy, rows = scorer.model_of(SMALL), scorer.rows_of(SMALL)
    found = {name: run() for name, run in scorer.ways(policy, rows, 200).items()}
    assert all(len(values) == len(rows) == 4 * 2 * (1 + SMALL.draws) for values in found.values())
    assert scorer.difference(found) < 1e-5


def test_one_changed_value_is_a_difference() -> None:
    policy, rows = scorer.model_of(SMALL), scorer.rows_of(SMALL)
    found = {name: run() for name, run in scorer.ways(policy, rows, 200).items()}
    found["shared beginnings"][-1] = found["shared beginnings"][-1] + 0.5
    assert scorer.difference(found) > 0.4


def test_the_padded_tokens_are_those_of_batches_of_eight() -> None:
    rows = [((1,) * length, (2, 3)) for length in (*range(2, 11), 2)]  # the last one repeats the first
    assert scorer.padded_tokens(rows) == 8 * 11 + 1 * 3
