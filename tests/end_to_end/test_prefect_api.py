"""The Prefect server of a benchmark that runs without `make up`."""

import subprocess
import sys
from pathlib import Path

import psutil

BLOCK = """
import time
from flows.services import prefect_api

with prefect_api():
    print("up", flush=True)
    time.sleep(600)
"""
PROJECT = Path(__file__).resolve().parents[2]


def test_the_server_of_a_killed_benchmark_does_not_stay(tmp_path: Path) -> None:
    call = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n{BLOCK}"]
    with subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        servers = psutil.Process(process.pid).children(recursive=True)
        assert servers
        process.kill()
    _, left = psutil.wait_procs(servers, timeout=60)
    assert not left
