"""A copy of the project in a folder of its own, with the `micro` profile: the doors write into it."""

from pathlib import Path

import pytest
from project_copy import Run, caller, copy_to, make


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy, set to the micro profile, its data in DVC's cache."""
    folder = tmp_path_factory.mktemp("project")
    copy_to(folder)
    run = caller(folder)
    run("igsearch", "config", "use", "micro")
    make(run, "data")
    return folder


@pytest.fixture(scope="module")
def run(project: Path) -> Run:
    """Runs a command in the copy."""
    return caller(project)
