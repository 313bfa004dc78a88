"""Shared by all tests: one thread, no network, and where the real data lies."""

import os
import signal
import threading
from pathlib import Path

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
