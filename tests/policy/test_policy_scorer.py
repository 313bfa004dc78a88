"""The scorer of a run holds shared beginnings against plain rows, and never goes on wrongly in silence."""

import warnings

import pytest
import torch

from igsearch.policy import scorer as scorers
from igsearch.policy.base import Policy
from igsearch.policy.score import score
from igsearch.policy.scorer import SAMPLE, Rows, Scorer


def pairs(vocabulary: int, count: int = 3 * SAMPLE) -> tuple[list[list[int]], list[list[int]]]:
    """Contexts that begin alike, of different length."""
    draw = torch.Generator().manual_seed(1)
    ids = [torch.randint(5, vocabulary, (20,), generator=draw).tolist() for _ in range(count)]
    return [ids[0] + row[: 1 + number % 19] for number, row in enumerate(ids)], [row[-3:] for row in ids]


class Counted:
    """Counts the plain rows that are read, and may report other values than the model's."""

    def __init__(self, off_by: float = 0.0) -> None:
        self.rows, self.off_by = 0, off_by

    def __call__(self, policy: Policy, contexts: Rows, continuations: Rows, batch_size: int) -> list[torch.Tensor]:
        self.rows += len(contexts)
        return [each + self.off_by for each in score(policy, contexts, continuations, batch_size)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    plain = Counted()
    monkeypatch.setattr(scorers, "score", plain)
    return plain


def test_the_first_batch_is_checked_whole_and_a_few_rows_of_each_later_one(policy: Policy, counted: Counted) -> None:
    contexts, rest = pairs(policy.model.config.vocab_size)
    scorer = Scorer(pass_tokens=100)
    scorer(policy, contexts, rest)
    assert counted.rows == len(contexts)
    for call in range(1, 4):
        found = scorer(policy, contexts, rest)
        assert counted.rows == len(contexts) + call * SAMPLE
    for mine, theirs in zip(found, score(policy, contexts, rest, 4), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    figures = scorer.take()
    assert figures["scorer/fallback"] == 0
    assert figures["scorer/largest_difference"] < 1e-5


def test_a_scorer_for_one_call_checks_a_few_rows(policy: Policy, counted: Counted) -> None:
    contexts, rest = pairs(policy.model.config.vocab_size)
    Scorer(100, first_whole=False)(policy, contexts, rest)
    assert counted.rows == SAMPLE


def test_a_mismatch_warns_is_logged_and_plain_rows_are_used_from_then_on(policy: Policy, counted: Counted) -> None:
    contexts, rest = pairs(policy.model.config.vocab_size)
    scorer = Scorer(100)
    scorer(policy, contexts, rest)
    counted.off_by = 0.5
    with pytest.warns(RuntimeWarning, match="goes on with plain rows"):
        found = scorer(policy, contexts, rest)
    expected = [each + 0.5 for each in score(policy, contexts, rest, 4)]
    assert scorer.take()["scorer/largest_difference"] > 0.01
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    before = counted.rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scorer(policy, contexts, rest)
    assert counted.rows == before + len(contexts)
    assert scorer.take() == {"scorer/largest_difference": 0.0, "scorer/fallback": 1.0}


def test_values_that_are_not_numbers_are_a_mismatch_unless_both_have_them(policy: Policy, counted: Counted) -> None:
    contexts, rest = pairs(policy.model.config.vocab_size)
    counted.off_by = float("nan")
    with pytest.warns(RuntimeWarning, match="differs by inf"):
        Scorer(100)(policy, contexts, rest)


def test_nothing_to_score_is_nothing(policy: Policy) -> None:
    assert Scorer(100)(policy, [], []) == []
    found = Scorer(100)(policy, [[5, 6]], [[]])
    assert [len(each) for each in found] == [0]
