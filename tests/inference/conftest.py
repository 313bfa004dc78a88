"""The two policies of tests/scripted.py."""

import pytest
import scripted

from igsearch.policy.base import Policy


@pytest.fixture(scope="session")
def tiny_policy() -> Policy:
    return scripted.tiny_policy()


@pytest.fixture(scope="session")
def bpe_policy() -> Policy:
    return scripted.bpe_policy()


@pytest.fixture(params=["tiny", "bpe"])
def policy(request: pytest.FixtureRequest, tiny_policy: Policy, bpe_policy: Policy) -> Policy:
    """Both, one after the other."""
    return tiny_policy if request.param == "tiny" else bpe_policy
