"""A tiny policy with random weights, large enough that no two of its logits are close."""

import pytest
import torch

from igsearch.config import PolicyConfig
from igsearch.policy import tiny
from igsearch.policy.base import Policy

WORDS = ("where", "was", "born", "?", "in", "the", "of", "founder", "who", "search", "is", "company", ",", ".")
STEMS = ("kar", "mor", "bel", "tos")
SUFFIXES = ("vik", "tan", "ora")


@pytest.fixture(scope="session")
def lexicon() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Words, stems and suffixes."""
    return WORDS, STEMS, SUFFIXES


@pytest.fixture(scope="session")
def policy() -> Policy:
    built = tiny.build(WORDS, STEMS, SUFFIXES, PolicyConfig(hidden=32, intermediate=64))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in built.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return built
