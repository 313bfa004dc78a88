"""Fixtures: the two sharpened policies of tests/scripted.py, and the batch of tests/batches.py for each."""

import batches
import pytest
import scripted

from igsearch.policy.base import Policy
from igsearch.records import Episode


@pytest.fixture(scope="session")
def policies() -> dict[str, Policy]:
    return {"tiny": batches.sharpen(scripted.tiny_policy()), "bpe": batches.sharpen(scripted.bpe_policy())}


@pytest.fixture(params=["tiny", "bpe"])
def policy(request: pytest.FixtureRequest, policies: dict[str, Policy]) -> Policy:
    """Both, one after the other."""
    return policies[request.param]


@pytest.fixture
def episodes(policy: Policy) -> list[Episode]:
    return batches.episodes(policy)
