"""What bench/rollout.py compares is the same: never its time."""

import rollout


def test_our_decoder_writes_what_generate_writes_turn_by_turn() -> None:
    shape = rollout.Shape(32, 2, 4, 32, 60, 6, (5, 12), (3, 9), (2, 7), (1, 3))
    policy = shape.policy()
    given = rollout.script(shape, len(policy.tokenizer))
    assert len({len(lengths) for lengths in given.lengths}) > 1  # rows leave the batch at different turns
    written = rollout.ours(policy, given)
    assert [list(map(len, turns)) for turns in written] == given.lengths
    assert rollout.differences(written, rollout.turn_by_turn(policy, given)) == []


def test_a_differing_turn_is_named() -> None:
    assert rollout.differences([[[1], [2, 3]]], [[[1], [2, 4]]]) == ["row 0, turn 1: [2, 3] and [2, 4]"]


def test_eos_ends_a_turn_and_is_kept() -> None:
    assert rollout._until([4, 9, 5, 9], [9]) == [4, 9]
    assert rollout._until([4, 5], [9]) == [4, 5]
