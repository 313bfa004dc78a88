"""The synthetic world of two profiles, made once."""

from pathlib import Path

import pytest

from igsearch.benchmarks import world
from igsearch.config import WorldConfig, load


@pytest.fixture(scope="session")
def small() -> WorldConfig:
    return load("micro").world


@pytest.fixture(scope="session")
def small_worlds(small: WorldConfig) -> dict[str, world.World]:
    return world.generate(small)


@pytest.fixture(scope="session")
def full_worlds() -> dict[str, world.World]:
    return world.generate(WorldConfig())


@pytest.fixture(scope="session")
def small_data(small: WorldConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `world.write` fills."""
    out = tmp_path_factory.mktemp("world")
    world.write(small, out)
    return out
