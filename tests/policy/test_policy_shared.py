"""Shared beginnings change nothing but the number of tokens that are read."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from igsearch.policy.base import Policy
from igsearch.policy.score import score
from igsearch.policy.shared import Branch, plan, score_shared, tokens_read

TOKENS = st.lists(st.integers(3, 6), min_size=1, max_size=40)


def rows_of(tree: Branch) -> list[Branch]:
    return [tree, *(below for branch in tree.branches for below in rows_of(branch))]


def check(tree: Branch, rows: Sequence[Sequence[int]]) -> None:
    """Every branch equals what it goes on from, as far as it does not read itself."""
    for branch in tree.branches:
        assert branch.start < len(rows[branch.row])
        assert rows[branch.row][: branch.start] == rows[tree.row][: branch.start]
        check(branch, rows)


@given(st.lists(TOKENS, min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_every_row_is_read_once_and_goes_on_from_an_equal_beginning(rows: list[list[int]]) -> None:
    trees = plan(rows, [len(row) - 1 for row in rows])
    assert sorted(branch.row for tree in trees for branch in rows_of(tree)) == list(range(len(rows)))
    for tree in trees:
        assert tree.start == 0
        check(tree, rows)


def test_a_rollout_is_the_trunk_of_its_counterfactuals() -> None:
    trunk = list(range(100, 160))
    rows = [trunk[:30] + [1] * 20, trunk, trunk[:30] + [1] * 10 + [2] * 12, trunk[:45] + [3] * 9]
    (tree,) = plan(rows, [len(row) - 1 for row in rows])
    assert (tree.row, tree.start) == (1, 0)
    assert {(each.row, each.start) for each in tree.branches} == {(2, 30), (3, 45)}
    (below,) = next(each for each in tree.branches if each.row == 2).branches
    assert (below.row, below.start) == (0, 40)


def pairs_of(vocabulary: int) -> tuple[list[list[int]], list[list[int]]]:
    """Two rollouts of one question with two steps, their counterfactuals, an alias, a repetition, and a cut row."""
    generator = torch.Generator().manual_seed(3)

    def ids(count: int) -> list[int]:
        return torch.randint(5, vocabulary, (count,), generator=generator).tolist()

    contexts, answers, prompt, gold, alias = [], [], ids(12), ids(3), ids(1)
    for _ in range(2):
        trunk = [*prompt, *ids(4)]
        for _ in range(2):
            outcomes = [ids(9 + n) for n in range(3)]
            contexts += [[*trunk, *outcome, 7] for outcome in outcomes]
            trunk = [*trunk, *outcomes[0], *ids(5)]
    contexts = [*contexts, contexts[0], contexts[4][-11:]]
    answers = [gold] * len(contexts)
    return [*contexts, contexts[3], contexts[3], ids(2)], [*answers, alias, [], gold]


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_scores_are_those_of_plain_rows(policy: Policy, budget: int) -> None:
    contexts, answers = pairs_of(policy.model.config.vocab_size)
    plain = score(policy, contexts, answers, 64)
    shared = score_shared(policy, contexts, answers, budget)
    assert [len(each) for each in shared] == [len(answer) for answer in answers]
    for mine, theirs in zip(shared, plain, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def test_order_changes_nothing(policy: Policy) -> None:
    contexts, answers = pairs_of(policy.model.config.vocab_size)
    forwards = score_shared(policy, contexts, answers, 200)
    backwards = score_shared(policy, contexts[::-1], answers[::-1], 200)[::-1]
    for mine, theirs in zip(forwards, backwards, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)


def test_what_rows_share_is_read_once() -> None:
    contexts, answers = pairs_of(50)
    distinct = {(tuple(context), tuple(answer)) for context, answer in zip(contexts, answers, strict=True) if answer}
    plain = sum(len(context) + len(answer) - 1 for context, answer in distinct)
    assert tokens_read(contexts, answers) < 0.6 * plain


def test_a_context_without_a_token_is_refused(policy: Policy) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        score_shared(policy, [[]], [[5]], 100)
