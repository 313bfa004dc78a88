"""Secrets planted in the environment and in the address of MLflow's server turn up nowhere: not in what is printed, nor
in any byte of the project folder, the store, its artifacts, the traces and the pages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import services
from igsearch.stages.served import HOST

PROJECT = Path(__file__).resolve().parents[2]
SECRETS = {
    "HF_TOKEN": "hf_planted0token1",
    "OPENAI_API_KEY": "sk-planted2key3",
    "AWS_SECRET_ACCESS_KEY": "planted4aws5key6",
    "PREFECT_SERVER_API_AUTH_STRING": "admin:planted7prefect8",
}
USER, PASSWORD = "somebody9x", "planted0mlflow1"
FORBIDDEN = [value.split(":")[-1] for value in SECRETS.values()] + [PASSWORD]
TINY = (
    "world.works=16", "world.persons=24", "world.cities=12", "world.companies=12", "world.regions=4",
    "world.train_questions=32", "world.validation_questions=8", "world.test_questions=4", "warm_start.steps=30",
    "train.steps=1", "train.prompts_per_step=2", "train.validation_questions=4", "tracking.traces=4",
    "examine.questions=2", "benchmark.methods=[grpo]", "benchmark.workers=1",
)  # fmt: skip


def environment(port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACKING", "PREFECT_"))}
    address = f"http://{USER}:{PASSWORD}@{HOST}:{port}"
    return {**kept, **SECRETS, "PYTHONPATH": str(PROJECT), "MLFLOW_TRACKING_URI": address,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # fmt: skip


def igsearch(folder: Path, port: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    sets = [part for item in TINY for part in ("--set", item)]
    command = [sys.executable, "-m", "igsearch", *arguments, "--profile", "micro", *sets]
    return subprocess.run(command, cwd=folder, env=environment(port), capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """An MLflow server over a folder of its own, which is told the same secrets; ended by process id."""
    folder, port = tmp_path_factory.mktemp("server"), services.free_port()
    where = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "kept"))
    arguments = ("mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", *where)
    service = services.Service("MLflow", arguments, "", folder / "server.log", health=f"http://{HOST}:{port}/health")
    process = service.start(port)
    try:
        service.wait(process)
        yield folder, port
    finally:
        services.end([process.pid])


def found_in(folder: Path) -> list[str]:
    """The files in whose bytes or names a secret stands."""
    words = [word.encode() for word in FORBIDDEN]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if any(word in path.read_bytes() + str(path).encode() for word in words)]


def test_a_run_through_the_command_line_leaves_no_secret_behind(server: tuple[Path, int], tmp_path: Path) -> None:
    kept, port = server
    for command in ("train --method grpo", "evaluate --run grpo-0", "microscope grpo-0", "doctor"):
        done = igsearch(tmp_path, port, *command.split())
        assert done.returncode == 0, done.stdout + done.stderr
        assert not [word for word in FORBIDDEN if word in done.stdout + done.stderr]
    assert not found_in(tmp_path)
    assert not found_in(kept)
    store = (kept / "mlflow.db").read_bytes()
    assert b"credit.rule" in store
    assert USER.encode() not in store
    assert list(tmp_path.rglob("*.html"))


def test_a_server_that_does_not_answer_is_named_without_the_password(tmp_path: Path) -> None:
    done = igsearch(tmp_path, services.free_port(), "train", "--method", "grpo")
    assert done.returncode == 2, done.stderr
    assert "MLflow's store does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [word for word in FORBIDDEN if word in done.stdout + done.stderr]
