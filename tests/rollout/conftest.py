"""The policies of tests/scripted.py."""

import pytest
import scripted

from igsearch.policy.base import Policy


@pytest.fixture(scope="session")
def tiny_policy() -> Policy:
    return scripted.tiny_policy()


@pytest.fixture(scope="session")
def bpe_policy() -> Policy:
    return scripted.bpe_policy()


@pytest.fixture(scope="session")
def smollm2_policy() -> Policy:
    return scripted.smollm2_tokenized()


@pytest.fixture(params=["tiny", "bpe", "smollm2"])
def policy(request: pytest.FixtureRequest) -> Policy:
    """Each of them, one after the other."""
    return request.getfixturevalue(f"{request.param}_policy")
