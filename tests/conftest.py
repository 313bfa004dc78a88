"""Shared by all tests: one thread, no network, and where the real data lies."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "1",
    }
)

if threading.current_thread() is threading.main_thread():
    # a suite that was started in the background ignores SIGINT, and what it starts would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

PROJECT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("IGSEARCH_REAL_DATA", PROJECT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real questions, passages and rollouts, which the project does not contain."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real data not found at {REAL_DATA}; set IGSEARCH_REAL_DATA to its folder")
    return REAL_DATA


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator["MlflowClient"]:
    """A real MLflow store below a fresh working folder, shared by the tests of a module."""
    from igsearch import tracking

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv(tracking.PARENT_ENV, raising=False)
        yield tracking.open_store()[0]
