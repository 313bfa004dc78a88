"""Both kinds of tokenizer for every test that asks for a policy, and a scorer that remembers its rows."""

import pytest
from both_policies import episodes, policies, policy
from spies import SpyScorer

__all__ = ["episodes", "policies", "policy"]


@pytest.fixture
def spy() -> SpyScorer:
    return SpyScorer()
